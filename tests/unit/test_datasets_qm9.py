"""QM9 from PyG's raw files: equal to what PyG makes of them, and every way they can be wrong."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import requests
from raw_qm9 import NAMES, write_raw
from torch_geometric.data import Data
from torch_geometric.datasets import QM9

from datasets import qm9
from datasets.downloads import Download, PublishedFile
from datasets.errors import InputError
from datasets.features import molecule_graphs
from datasets.graphs import NODE_FEATURES, Graphs
from datasets.molecules import read_table, target_unit
from datasets.parallel import ParallelMap
from datasets.qm9 import RawSet
from datasets.sources import MoleculeOptions, MoleculeSet, open_molecules

RECORDS = 60
LEFT_OUT = [3, 4, 17, 59]


@dataclass(frozen=True)
class Raw:
    """A folder that holds ``raw/`` as PyG has it, and what its files were published as."""

    folder: Path
    published: RawSet

    def file(self, name: str) -> Path:
        return self.folder / "raw" / name


def published_as(folder: Path) -> Raw:
    """The raw files as they lie there, by any content, taken for those that were published."""

    def file(name: str) -> PublishedFile:
        content = (folder / "raw" / name).read_bytes()
        return PublishedFile(name, len(content), hashlib.sha256(content).hexdigest())

    sdf, csv, uncharacterized = map(file, NAMES)
    return Raw(
        folder,
        RawSet(
            archive=Download("http://none.invalid/qm9.zip", "qm9.zip", (sdf, csv)),
            uncharacterized=Download(
                "http://none.invalid/3195404", uncharacterized.name, (uncharacterized,)
            ),
            records=RECORDS,
            left_out=len(LEFT_OUT),
        ),
    )


@pytest.fixture(scope="module")
def made(molecule_rows: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Raw:
    """A small raw set in QM9's format, out of generated molecules. Not to be changed."""
    folder = tmp_path_factory.mktemp("qm9")
    write_raw(molecule_rows.slice(0, RECORDS), folder / "raw", LEFT_OUT)
    return published_as(folder)


@pytest.fixture
def raw(made: Raw, tmp_path: Path) -> Raw:
    """The same, to be changed."""
    folder = tmp_path / "data" / "qm9"
    (folder / "raw").mkdir(parents=True)
    for name in NAMES:
        (folder / "raw" / name).write_bytes(made.file(name).read_bytes())
    return replace(made, folder=folder)


def table_of(raw: Raw, parallel: ParallelMap = map) -> pa.Table:
    return read_table(qm9.table_file(raw.folder, raw.published, parallel, print))


def refused(function, items):
    raise AssertionError(f"{function.__name__} was asked for {len(items)} chunks")


@pytest.fixture(scope="module")
def pyg(made: Raw) -> list[Data]:
    """What PyG itself makes of the raw set."""
    found = QM9(str(made.folder))
    return [data for data in found if isinstance(data, Data)]


@pytest.fixture(scope="module")
def graphs(made: Raw) -> Graphs:
    return molecule_graphs(table_of(made), "mu", made.folder)


def test_features_bonds_and_positions_equal_those_of_pyg_exactly(graphs: Graphs, pyg: list[Data]):
    assert len(graphs) == len(pyg) == RECORDS - len(LEFT_OUT)
    for graph, data in enumerate(pyg):
        expected = np.asarray(data.x)
        assert expected.shape[1] == NODE_FEATURES == 11
        nodes = slice(*graphs.node_offsets[graph : graph + 2])
        edges = slice(*graphs.edge_offsets[graph : graph + 2])
        np.testing.assert_array_equal(graphs.node_features[nodes], expected)
        np.testing.assert_array_equal(graphs.positions[nodes], np.asarray(data.pos), strict=True)
        np.testing.assert_array_equal(graphs.edge_index[:, edges], np.asarray(data.edge_index))
        one_hot = np.eye(4)[graphs.edge_types[edges]]
        np.testing.assert_array_equal(one_hot, np.asarray(data.edge_attr))


def targets_of(pyg: list[Data]) -> np.ndarray:
    """(molecules, 19) float32."""
    return np.concatenate([np.asarray(data.y) for data in pyg])


def test_the_19_targets_equal_those_of_pyg_to_the_last_bit(made: Raw, pyg: list[Data]):
    table = table_of(made)
    ours = np.column_stack([table.column(name).to_numpy() for name in qm9.TARGETS])
    theirs = targets_of(pyg)
    assert ours.shape == (RECORDS - len(LEFT_OUT), 19)
    np.testing.assert_array_equal(ours, theirs, strict=True)


def test_smiles_and_rows_are_those_of_pyg(made: Raw, pyg: list[Data]):
    assert table_of(made).column("smiles").to_pylist() == [data.smiles for data in pyg]
    assert [data.idx for data in pyg] == [n for n in range(RECORDS) if n not in LEFT_OUT]


def test_the_compared_molecules_show_all_that_pyg_can_tell(graphs: Graphs):
    assert set(graphs.edge_types.tolist()) == {0, 1, 2, 3}
    shown = graphs.node_features.max(axis=0) > 0
    assert np.flatnonzero(~shown).tolist() == [6, 7, 8, 9], "all but aromatic, sp, sp2 and sp3"


def test_addresses_and_counts_are_the_published_ones():
    assert qm9.PUBLISHED.archive.url == QM9.raw_url
    assert qm9.PUBLISHED.uncharacterized.url == QM9.raw_url2
    assert qm9.SIZE == 130_831
    assert "130,831" in (QM9.__doc__ or "")


def test_units_are_those_of_pygs_documentation(made: Raw):
    table = table_of(made)
    units = [target_unit(table, name) for name in qm9.TARGETS]
    in_ev = ["eV"] * 4
    assert units == [
        *("D", "Bohr^3", "eV", "eV", "eV", "Bohr^2", "eV"),
        *in_ev,
        "cal/(mol K)",
        *in_ev,
        *("GHz", "GHz", "GHz"),
    ]


@pytest.fixture
def opened(raw: Raw, monkeypatch: pytest.MonkeyPatch):
    """Opens the raw set as ``--dataset qm9``, whatever is taken for published."""

    def opened(**options) -> MoleculeSet:
        asked = MoleculeOptions(dataset="qm9", split="random:40,8,6", **options)
        return open_molecules(asked, 0, raw.folder.parent)

    monkeypatch.setattr(qm9, "PUBLISHED", raw.published)
    return opened


@pytest.mark.parametrize(("place", "target"), [*enumerate(qm9.TARGETS)])
def test_every_target_can_be_learned(place: int, target: str, opened, pyg: list[Data]):
    molecules = opened(target=target)
    assert molecules.unit == qm9.TARGETS[target][0]
    assert molecules.dropped == 0
    assert molecules.graphs.targets.tolist() == targets_of(pyg)[:, place].tolist()


def test_the_first_molecules_are_taken_where_a_number_is_given(opened, pyg: list[Data]):
    assert opened(molecules=54).graphs.targets.tolist() == targets_of(pyg)[:54, 0].tolist()


def test_an_unknown_target_is_refused_beside_the_19_before_anything_is_downloaded():
    with pytest.raises(
        InputError, match=r"no target u0: qm9 has mu, alpha, .*, A, B, C$"
    ) as error:
        MoleculeOptions(dataset="qm9", target="u0")
    assert all(name in str(error.value) for name in qm9.TARGETS)


def test_a_split_that_cannot_be_is_refused_before_anything_is_downloaded():
    with pytest.raises(InputError, match="of 130,831 molecules"):
        MoleculeOptions(dataset="qm9", split="random:130000,1000,1000")
    assert MoleculeOptions(dataset="qm9", split="homework").molecules is None


@pytest.mark.parametrize("size", [1, 7, RECORDS])
def test_chunks_do_not_change_the_table(size: int, made: Raw, raw: Raw, monkeypatch):
    monkeypatch.setattr(qm9, "CHUNK", size)
    assert table_of(raw).equals(table_of(made))


def test_the_table_is_made_once_and_then_does_without_the_raw_files(raw: Raw):
    first = table_of(raw)
    assert table_of(raw, parallel=refused).equals(first)
    for name in NAMES:
        raw.file(name).unlink()
    assert table_of(raw, parallel=refused).equals(first)
    assert not list(raw.folder.glob("**/*.partial"))


def test_other_raw_files_never_meet_the_table_of_the_old_ones(raw: Raw):
    before = table_of(raw)
    rows = raw.file("gdb9.sdf.csv").read_text().split("\n")
    rows[1] = "gdb_1," + ",".join(["1.5"] * 19)
    raw.file("gdb9.sdf.csv").write_text("\n".join(rows))
    with pytest.raises(InputError, match=r"gdb9\.sdf\.csv"):
        table_of(raw)
    after = table_of(published_as(raw.folder))
    assert after.column("mu")[0].as_py() == 1.5 != before.column("mu")[0].as_py()
    assert after.slice(1).equals(before.slice(1))


def test_an_interrupted_reading_leaves_no_table_behind(raw: Raw):
    def stopped(function, items):
        del function, items
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table_of(raw, stopped)
    assert not list(raw.folder.glob("*.parquet*"))


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_raw_file_is_refused(name: str, raw: Raw):
    whole = raw.file(name).read_bytes()
    raw.file(name).write_bytes(whole[:-40])
    message = f"{name} is truncated: it has {len(whole) - 40:,} bytes, expected {len(whole):,}; "
    with pytest.raises(InputError, match=message) as error:
        table_of(raw)
    assert str(error.value).endswith(f"remove {raw.file(name)} and it is downloaded again")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_raw_file_with_the_wrong_checksum_is_refused(name: str, raw: Raw):
    content = bytearray(raw.file(name).read_bytes())
    content[len(content) // 2] ^= 1
    raw.file(name).write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    message = rf"{name} has the wrong checksum: its SHA-256 is {found}, expected [0-9a-f]{{64}}; "
    with pytest.raises(InputError, match=message) as error:
        table_of(raw)
    assert str(error.value).endswith(f"remove {raw.file(name)} and it is downloaded again")


def first_lines(text: str, lines: int) -> str:
    return "".join(text.splitlines(keepends=True)[:lines])


MALFORMED = {
    "a record cut off": ("gdb9.sdf", lambda text: text[:-9], "ends within a record"),
    "a record less": (
        "gdb9.sdf",
        lambda text: text[: text[:-9].rindex("$$$$") + 5],
        "holds 59 records, expected 60",
    ),
    "no record": ("gdb9.sdf", lambda _: "", "holds 0 records, expected 60"),
    "a record that is none": (
        "gdb9.sdf",
        lambda text: text.replace("V2000", "V9000", 1),
        r"record 1 of gdb9\.sdf cannot be read",
    ),
    "a row less": ("gdb9.sdf.csv", lambda text: first_lines(text, 60), "holds 59 records"),
    "a row cut off": ("gdb9.sdf.csv", lambda text: text[: text.rindex(",")], "got 19"),
    "a word for a number": (
        "gdb9.sdf.csv",
        lambda text: text.replace("gdb_7,", "gdb_7,many", 1),
        "'many",
    ),
    "an empty cell": ("gdb9.sdf.csv", lambda text: text[: text.rindex(",") + 1], "''"),
    "a list cut off": (
        "uncharacterized.txt",
        lambda text: first_lines(text, 11),
        "holds 1 records, expected 4",
    ),
    "a list without numbers": (
        "uncharacterized.txt",
        lambda text: text.replace("18 ", "xx ", 1),
        "begins with no number",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_raw_files_are_refused_in_one_line_even_if_so_published(case: str, raw: Raw):
    name, change, message = MALFORMED[case]
    text = raw.file(name).read_text()
    raw.file(name).write_text(change(text))
    assert raw.file(name).read_text() != text
    with pytest.raises(InputError, match=message) as error:
        table_of(published_as(raw.folder))
    assert "\n" not in str(error.value)
    assert name in str(error.value)
    assert not list(raw.folder.glob("*.parquet*"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Without a network; the addresses that were asked for."""
    asked = []

    def unreachable(url: str, **_) -> None:
        asked.append(url)
        raise requests.ConnectionError from OSError("Name or service not known")

    monkeypatch.setattr(requests, "get", unreachable)
    yield asked


def test_only_what_is_missing_is_asked_for(no_network: list[str], raw: Raw):
    raw.file("uncharacterized.txt").unlink()
    with pytest.raises(InputError, match=r"save http://none.invalid/3195404 as unchar") as error:
        table_of(raw)
    assert "qm9.zip" not in str(error.value)
    assert no_network == ["http://none.invalid/3195404"]


@pytest.mark.usefixtures("no_network")
def test_raw_files_that_the_user_put_there_need_no_network(raw: Raw):
    assert table_of(raw).num_rows == RECORDS - len(LEFT_OUT)
