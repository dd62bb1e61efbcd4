"""A source of molecules is one value: `ALKANES` stands here, and nothing else knows it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from docstring_parser import parse_from_object
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcExactMolWt

from analysis import predict_molecules
from datasets import gfn2, qm9, sources
from datasets.cache import Cache
from datasets.conformers import conformer
from datasets.errors import InputError
from datasets.graphs import NODE_FEATURES
from datasets.molecules import molecule_table, read_table, target_unit, unit_name, write_table
from datasets.parallel import ParallelMap
from datasets.source import Source, Wanted
from datasets.sources import SOURCES, MoleculeOptions, MoleculeSet, open_molecules, source_of

SMILES = [end + "C" * carbons for carbons in range(2, 12) for end in ("", "O")]

WEIGHTS = [CalcExactMolWt(Chem.MolFromSmiles(smiles)) for smiles in SMILES]

SPLIT = "random:12,4,4"


def table(units: str = "", smiles: list[str] = SMILES) -> pa.Table:
    """Alkanes and alcohols with two targets; their units are not recorded by default."""
    shapes = [conformer(each, seed=0) for each in smiles]
    weights, carbons = np.array(WEIGHTS), np.array([each.count("C") for each in SMILES], float)
    return molecule_table(
        smiles,
        [numbers for numbers, _ in shapes],
        [positions for _, positions in shapes],
        {"weight": (weights, units), "carbons": (carbons, units)},
    )


def load(
    wanted: Wanted, cache: Cache, parallel: ParallelMap, notify: Callable[[str], None]
) -> pa.Table:
    def make(path: Path) -> None:
        notify("made the alkanes")
        write_table(table(), path)

    return read_table(cache.get("alkanes.parquet", make), wanted.target)


ALKANES = Source(
    key="alkanes",
    title="Alkanes",
    description="chains of carbons, some with a hydroxyl group",
    targets={"weight": "g/mol", "carbons": "atoms"},
    size=len(SMILES),
    load=load,
    geometry_note="; the model was trained on those of straight chains",
    relation="Alkanes are no molecules of QM9.",
    homework_relation="its chains are the published ones.",
)


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], None]:
    """Enters a source into the tuple of those that have a name; the alkanes are there."""

    def enter(source: Source) -> None:
        monkeypatch.setattr(sources, "SOURCES", (gfn2.SOURCE, qm9.SOURCE, source))

    enter(ALKANES)
    return enter


def gives(rows: pa.Table) -> Callable[..., pa.Table]:
    return lambda *_: rows


def opened(
    cache: Path, target: str = "weight", notify: Callable[[str], None] = print, **options: Any
) -> MoleculeSet:
    asked = MoleculeOptions(dataset="alkanes", target=target, **{"split": SPLIT, **options})
    return open_molecules(asked, 0, cache, notify=notify)


def study_of(dataset: str) -> Any:
    return cast(Any, SimpleNamespace(params={"data.dataset": dataset}))


# The toy


def test_it_is_opened_split_and_featurised(tmp_path: Path) -> None:
    found = opened(tmp_path)
    assert [len(part) for part in vars(found.split).values()] == [12, 4, 4]
    places = np.concatenate([*vars(found.split).values()])
    assert sorted(places.tolist()) == list(range(20))
    np.testing.assert_array_equal(found.graphs.targets, WEIGHTS)
    atoms = [Chem.AddHs(Chem.MolFromSmiles(each)).GetNumAtoms() for each in SMILES]
    assert np.diff(found.graphs.node_offsets).tolist() == atoms
    assert found.graphs.node_features.shape == (sum(atoms), NODE_FEATURES)
    assert (found.dropped, found.lists_bonds) == (0, False)


def test_what_it_keeps_is_made_once(tmp_path: Path) -> None:
    said: list[str] = []
    first = opened(tmp_path, notify=said.append)
    assert opened(tmp_path, notify=said.append).digest == first.digest
    assert said == ["made the alkanes"]


def test_the_first_of_its_molecules_are_taken(tmp_path: Path) -> None:
    found = opened(tmp_path, molecules=15, split="random:7,4,4")
    assert found.graphs.targets.tolist() == WEIGHTS[:15]


def test_an_unknown_target_is_refused_in_one_line_before_it_is_loaded() -> None:
    with pytest.raises(InputError) as error:
        MoleculeOptions(dataset="alkanes", target="gap", split=SPLIT)
    assert str(error.value) == "no target gap: alkanes has weight, carbons"


@pytest.mark.parametrize("molecules", [None, 1_000])
def test_a_split_of_more_than_there_are_is_refused_before_it_is_loaded(
    molecules: int | None,
) -> None:
    with pytest.raises(InputError, match="asks for 20, 4 and 4 of 20 molecules"):
        MoleculeOptions("alkanes", "weight", split="random:20,4,4", molecules=molecules)


def test_its_units_are_those_that_it_states(tmp_path: Path) -> None:
    assert target_unit(table(), "weight") == "unit unknown"
    assert opened(tmp_path).unit == "g/mol"
    assert opened(tmp_path, target="carbons", unit="atoms").unit == "atoms"
    with pytest.raises(InputError, match="--unit is D, but weight is recorded to be in g/mol"):
        opened(tmp_path, unit="D")


def test_a_table_that_records_another_unit_is_refused(
    tmp_path: Path, named: Callable[[Source], None]
) -> None:
    named(replace(ALKANES, load=gives(table("kg"))))
    with pytest.raises(InputError) as error:
        opened(tmp_path)
    said = "weight of Alkanes is recorded to be in kg, but its source states g/mol"
    assert str(error.value) == f"{said}: correct one of them"


def test_a_source_may_leave_targets_and_units_to_its_table(
    tmp_path: Path, named: Callable[[Source], None]
) -> None:
    named(replace(ALKANES, targets=None, size=None, load=gives(table("kg"))))
    assert opened(tmp_path).unit == "kg"
    with pytest.raises(InputError, match="no target gap: this table has weight, carbons"):
        opened(tmp_path, target="gap")


@pytest.mark.parametrize("once", [False, True])
def test_molecules_are_looked_for_in_several_rows_unless_it_says_that_each_is_one(
    once: bool, tmp_path: Path, named: Callable[[Source], None]
) -> None:
    rows = table(smiles=[*SMILES[:-1], SMILES[0][::-1] + " again"])
    named(replace(ALKANES, load=gives(rows), one_row_a_molecule=once))
    said: list[str] = []
    opened(tmp_path, notify=said.append, split="random:12,4,3")
    assert said == (
        [] if once else ["2 of 20 rows share a molecule with other rows, each in one part"]
    )


def test_more_molecules_than_its_size_are_there_of_one_without_bounds() -> None:
    endless = replace(ALKANES, unbounded=True)
    assert [endless.rows(wanted) for wanted in (None, 7, 1_000)] == [20, 7, 1_000]
    assert [ALKANES.rows(wanted) for wanted in (None, 7, 1_000)] == [20, 7, 20]
    assert replace(ALKANES, size=None).rows(7) is None


def test_its_note_stands_below_predictions_of_smiles() -> None:
    assert predict_molecules.geometry(study_of("alkanes")) == (
        "Geometries: one conformer each, by ETKDG and MMFF94; the model was trained on those of "
        "straight chains."
    )


def test_a_file_that_is_called_after_it_is_related_to_published_figures_as_it_is() -> None:
    file = source_of("some/where/Alkanes.parquet")
    assert file.relation_to_published("random") == "Alkanes are no molecules of QM9."
    assert file.relation_to_published("homework") == (
        "This study has the homework's split: where the rows of its file are Alkanes's, in their "
        "order, its chains are the published ones."
    )


def test_an_unknown_data_set_is_answered_with_its_name() -> None:
    with pytest.raises(InputError, match="expected gfn2, qm9, alkanes or the path of a"):
        MoleculeOptions(dataset="alkynes")


def test_the_help_names_it() -> None:
    assert "; alkanes: chains of carbons, some with" in sources.described(sources.SOURCES)
    assert ", 20 of alkanes, all of a file" in sources.sizes_described(sources.SOURCES)


# Those that there are


def help_of(field: str) -> str:
    documented = {param.arg_name: param for param in parse_from_object(MoleculeOptions).params}
    return " ".join((documented[field].description or "").split())


def test_the_help_is_that_of_all_sources() -> None:
    assert help_of("dataset") == sources.described(SOURCES)
    assert help_of("molecules") == sources.sizes_described(SOURCES)
    for source in SOURCES:
        assert f"{source.key}: {source.description}; " in help_of("dataset")


def test_no_two_sources_have_one_key() -> None:
    assert len({source.key for source in SOURCES}) == len(SOURCES)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.key)
def test_a_source_can_be_named_and_its_units_are_written_as_others_are(source: Source) -> None:
    assert source.key == source.key.lower().strip() and "." not in source.key
    assert source_of(source.key) is source
    assert source.targets
    for target, unit in source.targets.items():
        assert source.unit(target) == unit == unit_name(unit)


def test_the_targets_of_qm9_and_their_units_stand_once() -> None:
    assert qm9.SOURCE.targets == {name: unit for name, (unit, _) in qm9.TARGETS.items()}
    assert qm9.SOURCE.size == 130_831


def test_the_generated_table_records_the_unit_that_its_source_states(
    molecule_rows: pa.Table,
) -> None:
    assert {"mu": target_unit(molecule_rows, "mu")} == gfn2.SOURCE.targets


@pytest.mark.parametrize(
    ("dataset", "note"),
    [
        ("gfn2", ", as those that the model was trained on."),
        ("qm9", "; the model was trained on those of qm9, which are B3LYP's."),
        ("qm9.parquet", "; the model was trained on those of qm9.parquet."),
    ],
)
def test_predictions_say_which_geometries_were_learned_from(dataset: str, note: str) -> None:
    said = predict_molecules.geometry(study_of(dataset))
    assert said == f"Geometries: one conformer each, by ETKDG and MMFF94{note}"


OTHERS = (
    "Published are moments of QM9's molecules (B3LYP). Those of this study are others, with "
    "labels of another method: the figures give the scale, they are no comparison."
)

OF_QM9 = (
    "The same property of molecules of the same origin; the molecules to train and to test are "
    "others, and so may be their number."
)

UNKNOWN_ORIGIN = (
    "Published are moments of QM9's molecules (B3LYP). Whether this study's may be compared with "
    "them depends on where they come from, which their file does not say."
)

SAME = (
    "its R² is the same quantity on the same molecules. The MAE of the others comes from ten "
    "times as many molecules to train."
)


@pytest.mark.parametrize(
    ("dataset", "split", "relation"),
    [
        ("gfn2", "random", OTHERS),
        ("gfn2", "homework", OTHERS),
        ("gfn2.parquet", "random", OTHERS),
        ("qm9", "random", OF_QM9),
        ("a/QM9.parquet", "random:5,3,2", OF_QM9),
        ("qm9", "homework", f"This study has the homework's split: {SAME}"),
        (
            "a/qm9.parquet",
            "homework",
            "This study has the homework's split: where the rows of its file are QM9's, in their "
            f"order, {SAME}",
        ),
        ("mine.parquet", "random", UNKNOWN_ORIGIN),
        ("mine.parquet", "homework", UNKNOWN_ORIGIN),
    ],
)
def test_a_source_says_how_it_is_related_to_the_published_dipole_moments(
    dataset: str, split: str, relation: str
) -> None:
    assert source_of(dataset).relation_to_published(split) == relation
