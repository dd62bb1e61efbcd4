"""New molecules look to a model as those that it was trained on."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from raw_qm9 import NAMES, write_raw

from datasets import conformers, features, new_molecules, qm9
from datasets.errors import InputError
from datasets.features import featurise
from datasets.graphs import Graphs
from datasets.molecules import BONDS, molecule_table
from datasets.new_molecules import from_smiles, graphs_as_learned
from datasets.sources import MoleculeSet

STRUCTURE = ("node_features", "positions", "node_offsets", "edge_index", "edge_types", "rows")


def assert_same(found: Graphs, expected: Graphs) -> None:
    for name in STRUCTURE:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)


@pytest.fixture
def listed(molecule_rows: pa.Table, tmp_path: Path) -> pa.Table:
    """The same molecules as QM9's files have them: bonds listed, alternating in aromatic rings."""
    write_raw(molecule_rows, tmp_path / "raw", [])
    text = (tmp_path / "raw" / NAMES[0]).read_bytes()
    table = qm9.read_records(qm9.RecordChunk(0, molecule_rows.num_rows, text, frozenset()))
    return table.take(np.arange(0, molecule_rows.num_rows, 2))


def test_the_molecules_of_the_generated_set_are_made_again_by_their_smiles(
    molecules: MoleculeSet, molecule_rows: pa.Table
) -> None:
    smiles = molecule_rows.column("smiles").to_pylist()[:20]
    expected = featurise(molecule_rows.slice(0, 20), np.zeros(20))
    found = graphs_as_learned(from_smiles(smiles), lists_bonds=False)
    assert_same(found, expected)
    assert np.isnan(found.targets).all()
    assert molecules.lists_bonds is False


def test_a_molecule_is_the_same_however_its_smiles_is_written() -> None:
    one, other = (from_smiles([smiles]) for smiles in ("OCC", "C(O)C"))
    assert one.equals(other)


def test_bonds_are_listed_for_a_model_that_was_trained_on_qm9s(
    molecule_rows: pa.Table, listed: pa.Table
) -> None:
    alike = molecule_rows.take(np.arange(0, molecule_rows.num_rows, 2))
    # QM9's file format has four decimals of an Angstrom.
    positions = pa.array(listed.column("positions").to_pylist(), pa.list_(pa.float32()))
    alike = alike.set_column(2, "positions", positions)
    found = graphs_as_learned(alike, lists_bonds=True)
    assert_same(found, featurise(listed, np.zeros(listed.num_rows)))
    assert not found.node_features[:, 6:10].any()


def test_bonds_are_left_alone_for_a_model_that_was_trained_on_smiles(listed: pa.Table) -> None:
    found = graphs_as_learned(listed, lists_bonds=False)
    assert_same(found, featurise(listed.drop_columns(BONDS), np.zeros(listed.num_rows)))
    assert found.node_features[:, 6:10].any()
    again = graphs_as_learned(listed, lists_bonds=True)
    assert_same(again, featurise(listed, np.zeros(listed.num_rows)))


@pytest.mark.parametrize("lists_bonds", [False, True])
def test_positions_that_do_not_fit_are_left_out_by_row(
    molecule_rows: pa.Table, lists_bonds: bool
) -> None:
    rows = molecule_rows.slice(0, 4)
    smiles = rows.column("smiles").to_pylist()
    wrong = pa.array([smiles[0], "CCCCCCCCCC", *smiles[2:]])
    found = graphs_as_learned(rows.set_column(0, "smiles", wrong), lists_bonds)
    assert found.rows.tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("smiles", "said"),
    [
        ("CC(", "RDKit rejects the SMILES 'CC(': correct it"),
        ("CCCl", "CCCl has Cl: expected H, C, N, O and F only"),
        ("CC[NH3+]", "expected the SMILES of one neutral molecule without radicals"),
        ("C.C", "expected the SMILES of one neutral molecule without radicals, got 'C.C'"),
        ("", "expected the SMILES of one neutral molecule without radicals, got ''"),
        ("C1#CC1", "no conformer for SMILES 'C1#CC1'"),
        ("C" * 100, "a SMILES of 100 characters has 302 atoms, hydrogens included: expected at m"),
        ("C" * 10_000, "a SMILES of 10,000 characters has 30,002 atoms"),
        ("C~N", "C~N has a bond of RDKit's type"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_molecule_for_the_models_is_named(smiles: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as error:
        from_smiles(["CCO", smiles])
    assert "\n" not in str(error.value)


def test_a_table_of_which_no_row_fits_is_refused(molecule_rows: pa.Table) -> None:
    table = molecule_rows.slice(0, 1).set_column(0, "smiles", pa.array(["CCCCCCCCCC"]))
    for lists_bonds in (False, True):
        with pytest.raises(InputError, match="in no row do the positions fit the SMILES"):
            graphs_as_learned(table, lists_bonds)


def test_an_embedding_has_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """RDKit cannot be interrupted from outside."""
    given: list[float] = []

    def takes_too_long(molecule: Any, parameters: Any) -> int:
        given.append(parameters.timeout)
        return -1

    monkeypatch.setattr(conformers.rdDistGeom, "EmbedMolecule", takes_too_long)
    with pytest.raises(InputError, match="no conformer for SMILES"):
        from_smiles(["C" * 90])
    assert given == [conformers.EMBEDDING_SECONDS] == [60]


def chain(carbons: int) -> pa.Table:
    """An alkane, of which more than 127 atoms do not fit into 8 bits; drawn with a ruler."""
    numbers = [6] * carbons + [1] * (2 * carbons + 2)
    spots = [[1.5 * place, 0, 0] for place in range(carbons)]
    for place in range(carbons):
        sides = [[0, 1, 0], [0, -1, 0]]
        sides += [[-1, 0, 0]] if place == 0 else []
        sides += [[1, 0, 0]] if place == carbons - 1 else []
        spots += [[1.5 * place + x, y, z] for x, y, z in sides]
    shape = np.array(numbers, np.int8), np.array(spots, np.float32)
    return molecule_table(["C" * carbons], [shape[0]], [shape[1]], targets={})


def test_bonds_are_listed_for_more_atoms_than_8_bits_count() -> None:
    table = chain(50)
    listed = graphs_as_learned(table, lists_bonds=True)
    np.testing.assert_array_equal(
        listed.edge_index, graphs_as_learned(table, lists_bonds=False).edge_index
    )
    assert listed.edge_index.max() == 151


@pytest.mark.parametrize("lists_bonds", [False, True])
def test_a_molecule_of_too_many_atoms_is_refused_before_its_bonds_are_looked_for(
    lists_bonds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_molecules, "in_order_of", None)
    monkeypatch.setattr(features, "in_order_of", None)
    with pytest.raises(InputError, match="row 0 has 302 atoms: expected at most 300"):
        graphs_as_learned(chain(100), lists_bonds)


@pytest.mark.parametrize("lists_bonds", [False, True])
def test_positions_that_are_no_geometry_are_left_out_by_row(
    molecule_rows: pa.Table, listed: pa.Table, lists_bonds: bool
) -> None:
    for rows in (molecule_rows.slice(0, 4), listed.slice(0, 4)):
        spots = rows.column("positions").to_pylist()
        spots[1] = [0.0] * len(spots[1])
        kind = rows.schema.field("positions").type
        found = graphs_as_learned(
            rows.set_column(2, "positions", pa.array(spots, kind)), lists_bonds
        )
        assert found.rows.tolist() == [0, 2, 3]
