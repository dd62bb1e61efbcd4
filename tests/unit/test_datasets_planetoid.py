"""Cora from Planetoid's files: what PyG makes of them, and every way they can be wrong."""

import hashlib
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from places import SHARED_DATA
from python_2_pickles import MATRIX, Published, Writer, files, state_of, whole, write
from scipy import sparse
from torch_geometric.io import read_planetoid_data

from datasets import planetoid
from datasets.downloads import Download, PublishedFile
from datasets.errors import InputError
from datasets.planetoid import CHECKSUMS, CORA, Counts, open_cora, read_planetoid
from datasets.planetoid_pickles import read_labels, read_matrix, read_neighbours

SMALL = Counts(nodes=600, edges=0, words=9, classes=3, train=6, validation=500, test=40)
AN_OLD_NAME = pytest.mark.filterwarnings("ignore:Please import `csr_matrix`:DeprecationWarning")
"""SciPy's own class is made under the name in the files by what is compared with."""

CORA_ARRAYS = SHARED_DATA / "cora.npz"


def small() -> tuple[Published, Counts]:
    """A graph of random words and edges, with loops and repeated neighbours as Cora's file has."""
    random = np.random.default_rng(0)
    words = (random.random((SMALL.nodes, SMALL.words)) < 0.3).astype(np.float32)
    pairs = random.integers(0, SMALL.nodes, (2, 800))
    lists: dict[int, list[int]] = {node: [] for node in range(SMALL.nodes)}
    for one, other in pairs.T.tolist():
        lists[one].append(other)
        lists[other].append(one)
    lists[7] += [7, *lists[7]]
    edges = {(min(pair), max(pair)) for pair in pairs.T.tolist() if pair[0] != pair[1]}
    graph = Published(
        features=sparse.csr_matrix(words),
        labels=np.r_[np.arange(6) % 3, random.integers(0, 3, SMALL.nodes - 6)],
        lists={node: listed for node, listed in lists.items() if listed},
        order=random.permutation(np.arange(SMALL.nodes - SMALL.test, SMALL.nodes)),
        train=SMALL.train,
    )
    return graph, replace(SMALL, edges=len(edges))


GRAPH, COUNTS = small()


def same(matrix: Any, other: Any) -> bool:
    return matrix.shape == other.shape and (matrix != other).nnz == 0


def said(argument: Any) -> str | None:
    """What a case is called: a part of its message, not of its file."""
    return argument[:40] if isinstance(argument, str) and "\n" not in argument else "file"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(GRAPH, tmp_path / "cora")


@AN_OLD_NAME
def test_the_graph_is_what_pyg_makes_of_the_files(folder: Path) -> None:
    found = read_planetoid(folder, COUNTS)
    expected: Any = read_planetoid_data(str(folder), "cora")
    np.testing.assert_array_equal(found.features.toarray(), expected.x.numpy(), strict=True)
    np.testing.assert_array_equal(found.labels, expected.y.numpy(), strict=True)
    order = np.lexsort(expected.edge_index.numpy()[::-1])
    edges = expected.edge_index.numpy()[:, order]
    np.testing.assert_array_equal(found.edges, edges, strict=True)
    masks = (expected.train_mask, expected.val_mask, expected.test_mask)
    for part, mask in zip(vars(found.split).values(), masks, strict=True):
        np.testing.assert_array_equal(part, np.flatnonzero(mask))


def test_the_graph_is_the_one_that_was_written(folder: Path) -> None:
    found = read_planetoid(folder, COUNTS)
    assert same(found.features, GRAPH.features)
    assert isinstance(found.features, sparse.csr_matrix) and found.features.dtype == np.float32
    np.testing.assert_array_equal(found.labels, GRAPH.labels)
    assert found.edges.shape == (2, 2 * COUNTS.edges)
    assert (found.edges[0] != found.edges[1]).all()
    assert {*zip(*found.edges, strict=True)} == {*zip(*found.edges[::-1], strict=True)}


def cora() -> tuple[Published, dict[str, np.ndarray]]:
    """Cora, its nodes that test in another order than the published one."""
    if not CORA_ARRAYS.is_file():
        pytest.skip("needs ../shared/data/cora.npz, which is not part of the project")
    with np.load(CORA_ARRAYS) as opened:
        arrays = dict(opened)
    entries = (arrays["x_row"].astype(int), arrays["x_col"].astype(int))
    ones = np.ones(len(entries[0]), np.float32)
    lists: dict[int, list[int]] = {}
    for node, other in arrays["edge_index"].T.tolist():
        lists.setdefault(node, []).append(other)
    rows, columns = arrays["x_shape"].tolist()
    graph = Published(
        features=sparse.csr_matrix((ones, entries), (rows, columns)),
        labels=arrays["y"].astype(np.int64),
        lists=lists,
        order=np.random.default_rng(0).permutation(np.flatnonzero(arrays["test_mask"])),
        train=int(arrays["train_mask"].sum()),
    )
    return graph, arrays


def test_cora_comes_back_with_its_counts(tmp_path: Path) -> None:
    graph, arrays = cora()
    found = read_planetoid(write(graph, tmp_path))
    assert same(found.features, graph.features)
    np.testing.assert_array_equal(found.labels, arrays["y"])
    edges = arrays["edge_index"].astype(np.int64)
    np.testing.assert_array_equal(found.edges, edges[:, np.lexsort(edges[::-1])], strict=True)
    masks = zip(vars(found.split).values(), ("train_mask", "val_mask", "test_mask"), strict=True)
    for part, name in masks:
        np.testing.assert_array_equal(part, np.flatnonzero(arrays[name]))
    assert (len(found.labels), found.edges.shape, found.features.get_shape()[1]) == (
        2708,
        (2, 10556),
        1433,
    )


def test_the_labels_of_cora_are_written_to_the_published_bytes() -> None:
    """So the checksums are of these labels, and what the tests write has the form of the files."""
    written = files(cora()[0])
    for name in ("y", "ally"):
        assert hashlib.sha256(written[name]).hexdigest() == CHECKSUMS[name]


@AN_OLD_NAME
def test_what_protocols_0_and_1_would_have_written_is_read_too(tmp_path: Path) -> None:
    writer = Writer()
    made = b"".join(writer.name(*name) for name in (("copy_reg", "_reconstructor"), MATRIX))
    made += writer.name("__builtin__", "object") + b"N\x87R"
    path = tmp_path / "x"
    path.write_bytes(whole(made + writer.state(state_of(GRAPH.features)) + b"b"))
    assert same(read_matrix(path), GRAPH.features)
    assert same(pickle.loads(path.read_bytes(), encoding="latin1"), GRAPH.features)


class Hostile:
    """Would make a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class HostileByEval(Hostile):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"__import__('os').mkdir({str(self.path)!r})",)


@pytest.mark.parametrize("name", [name for name in CHECKSUMS if name != "test.index"])
@pytest.mark.parametrize("kind", [Hostile, HostileByEval])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_hostile_file_is_refused_and_its_code_does_not_run(
    name: str, kind: type[Hostile], protocol: int, folder: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    content = pickle.dumps([{"state": kind(mark)}], protocol)
    (folder / f"ind.cora.{name}").write_bytes(content)
    with pytest.raises(InputError, match=rf"ind.cora.{name}: refused: the pickle names .*remove"):
        read_planetoid(folder, COUNTS)
    assert not mark.exists()
    pickle.loads(content)  # the plain unpickler would have run it
    assert mark.exists()


def test_a_foreign_name_in_a_matrix_is_refused(tmp_path: Path) -> None:
    for name in (("scipy.sparse.csr", "csr_array"), ("scipy.io", "mmread"), ("builtins", "dict")):
        path = tmp_path / "x"
        path.write_bytes(whole(Writer().name(*name) + b")R"))
        with pytest.raises(InputError, match=f"refused: the pickle names {'.'.join(name)}"):
            read_matrix(path)


def changed(**parts: Any) -> bytes:
    return whole(Writer().matrix(STATE | parts))


STATE = state_of(GRAPH.features[:60])
ENTRIES = len(STATE["data"])


def with_one(name: str, place: int, value: Any, kind: Any = np.int64) -> bytes:
    array = STATE[name].astype(kind)
    array[place] = value
    return changed(**{name: array})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_one("indices", 3, 9), "expected column numbers below the 9 columns"),
        (with_one("indices", 3, -1), "expected column numbers"),
        (with_one("indices", 3, 2**63 + 1, np.uint64), "expected column numbers"),
        (with_one("indptr", 0, 1), "rows that do not follow each other"),
        (with_one("indptr", -1, ENTRIES - 1), "rows that do not follow each other"),
        (with_one("indptr", 4, 0), "rows that do not follow each other"),
        (with_one("indptr", 4, 0, np.uint32), "rows that do not follow each other"),
        (with_one("indptr", 4, 2**40), "61 ends of 60 rows, within"),
        (with_one("indptr", 4, -5), "61 ends of 60 rows, within"),
        (with_one("data", 0, np.inf, np.float32), "numbers that are not finite"),
        (with_one("data", 0, 1e300, np.float64), "numbers that are not finite"),
        (changed(data=STATE["data"][:-1]), f"{ENTRIES - 1} numbers in {ENTRIES} columns"),
        (changed(indices=STATE["data"]), "a matrix with an array of type float32, 1 dim"),
        (changed(data=STATE["data"].reshape(1, -1)), "an array of type float32, 2 dimensions"),
        (changed(data="text"), "expected an array, got str"),
        (changed(_shape=(-1, 9)), "61 ends of -1 rows"),
        (changed(_shape=(60, -9)), "expected column numbers below the -9 columns"),
        (changed(_shape=(2**62, 9)), "61 ends of 4611686018427387904 rows"),
        (changed(_shape=(60, 2**62)), "expected column numbers below the 46116860184"),
        (changed(_shape=(60, 9, 1)), "another shape than two whole numbers"),
        (changed(_shape=("60", 9)), "another shape than two whole numbers"),
        (changed(_shape=60), "another shape than two whole numbers"),
        (whole(Writer().matrix({})), "no whole pickle of arrays: '_shape'"),
        (whole(Writer().name(*MATRIX) + b")\x81"), "is no whole pickle of arrays"),
        (whole(Writer().name(*MATRIX)), "expected a sparse matrix, got a sparse matrix"),
        (whole(b"]"), "expected a sparse matrix, got list"),
        (whole(Writer().array(STATE["data"])), "expected a sparse matrix, got an array"),
        (whole(b"}" + b")" + b"\x85" * 200 + b"K\x01s"), "more than 100 tuples"),
        (b"", "is no whole pickle of arrays"),
        (b"<!DOCTYPE html>", "is no whole pickle of arrays"),
    ],
    ids=said,
)
def test_a_matrix_that_does_not_fit_together_is_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "ind.cora.x").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_matrix(tmp_path / "ind.cora.x")
    line = str(caught.value)
    assert line.startswith(str(tmp_path / "ind.cora.x")) and "\n" not in line
    assert line.endswith(": remove the file and it is downloaded again")


def test_an_object_of_another_class_is_refused(tmp_path: Path) -> None:
    writer = Writer()
    names = (("copy_reg", "_reconstructor"), ("numpy", "ndarray"), ("__builtin__", "object"))
    (tmp_path / "x").write_bytes(whole(b"".join(writer.name(*each) for each in names) + b"N\x87R"))
    with pytest.raises(InputError, match="an object of the class of arrays"):
        read_matrix(tmp_path / "x")


def test_entries_that_are_listed_twice_are_added_and_sorted(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(
        whole(
            Writer().matrix(
                {
                    "_shape": (1, 9),
                    "data": np.array([1, 2, 3], np.float64),
                    "indices": np.array([5, 1, 5], np.int64),
                    "indptr": np.array([0, 3], np.int64),
                }
            )
        )
    )
    found = read_matrix(tmp_path / "x")
    assert (found.indices.tolist(), found.data.tolist()) == ([1, 5], [2, 4])
    assert found.dtype == np.float32


ONE_HOT = np.eye(3, dtype=np.int32)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ONE_HOT[:, 0], r"expected a row of classes for each node, got shape \(3,\)"),
        (ONE_HOT[:0], r"expected a row of classes for each node, got shape \(0, 3\)"),
        (ONE_HOT * 2, "expected a single 1 in each row"),
        (ONE_HOT + ONE_HOT[::-1], "expected a single 1 in each row"),
        (ONE_HOT * 0, "expected a single 1 in each row"),
        (ONE_HOT * np.nan, "expected a single 1 in each row"),
    ],
    ids=said,
)
def test_labels_that_name_no_class_are_refused(
    rows: np.ndarray, message: str, tmp_path: Path
) -> None:
    (tmp_path / "y").write_bytes(whole(Writer().array(rows)))
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / "y")


REPEATED = Writer().name("collections", "defaultdict") + b"c__builtin__\nlist\n\x85R("
REPEATED += (
    b"K\x00]("
    + b"K\x01" * 100
    + b"eq\x03"
    + b"".join(b"K" + bytes([node]) + b"h\x03" for node in range(1, 60))
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Writer().lists({0: [60]}), "expected neighbours of nodes 0 to 59"),
        (Writer().lists({60: [0]}), "expected neighbours of nodes 0 to 59"),
        (Writer().lists({0: [-1]}), "expected neighbours of nodes 0 to 59"),
        (Writer().lists({0: [2**70]}), "expected neighbours of nodes 0 to 59"),
        (Writer().lists({0: []}), "expected neighbours of nodes 0 to 59"),
        (Writer().lists({0: [1]}).replace(b"K\x01", b"U\x011"), "expected neighbours of nodes"),
        (Writer().lists({0: [1]}).replace(b"K\x01", b"\x88"), "expected neighbours of nodes"),
        (Writer().lists({0: [1]})[:-6] + b"K\x01u", "expected lists of neighbours"),
        (Writer().lists({0: [1]}) + b"}b", "a dictionary with a state"),
        (Writer().lists({0: [1]}).replace(b"\x85R", b"0)R"), "of other things than lists"),
        (REPEATED + b"u", "more neighbours than the file's .* bytes can hold"),
        (b"}", "expected a dictionary of lists, got dict"),
    ],
    ids=said,
)
def test_neighbours_that_are_none_are_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "graph").write_bytes(whole(content))
    with pytest.raises(InputError, match=message):
        read_neighbours(tmp_path / "graph", 60)


@pytest.mark.parametrize("name", [name for name in CHECKSUMS if name != "test.index"])
def test_a_file_cut_off_anywhere_is_refused(name: str, folder: Path) -> None:
    path = folder / f"ind.cora.{name}"
    content = path.read_bytes()
    for kept in (0, 1, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(
            InputError, match=f"{path.name} is no whole pickle .* downloaded again"
        ):
            read_planetoid(folder, COUNTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "35\n36\n",
            r"each of the nodes 560 to 599 once, got 2 numbers that are not these: remove",
        ),
        (
            "".join(f"{node}\n" for node in [*range(560, 599), 598]),
            "each of the nodes 560 to 599 once",
        ),
        (
            "".join(f"{node}\n" for node in [*range(560, 599), 2**80]),
            "each of the nodes 560 to 599",
        ),
        ("35\nx\n", "ind.cora.test.index is no list of nodes: invalid literal"),
        ("3" * 5000, "ind.cora.test.index is no list of nodes"),
        ("35\n٣٦\n", "ind.cora.test.index is no list of nodes"),
    ],
    ids=said,
)
def test_another_list_of_nodes_to_test_is_refused(
    content: str, message: str, folder: Path
) -> None:
    (folder / "ind.cora.test.index").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_planetoid(folder, COUNTS)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (replace(COUNTS, train=7), r"cora.x: expected 7 rows of 9 columns, got 6 of 9: remove"),
        (replace(COUNTS, words=8), r"cora.x: expected 6 rows of 8 columns, got 6 of 9"),
        (replace(COUNTS, classes=4), r"cora.y: expected 6 rows of 4 columns, got 6 of 3"),
        (replace(COUNTS, test=39), r"test.index: expected each of the nodes 561 to 599 once"),
        (
            replace(COUNTS, nodes=601, test=41),
            r"test.index: expected each of the nodes 560 to 600",
        ),
        (
            replace(COUNTS, edges=5),
            rf"cora.graph: expected 5 pairs .*, got {COUNTS.edges}: remove",
        ),
        (CORA, r"test.index: expected each of the nodes 1708 to 2707 once, got 40 numbers"),
    ],
)
def test_other_counts_than_expected_are_refused(
    counts: Counts, message: str, folder: Path
) -> None:
    with pytest.raises(InputError, match=message):
        read_planetoid(folder, counts)


def test_files_that_are_not_there_are_named(folder: Path) -> None:
    for name in ("tx", "graph"):
        (folder / f"ind.cora.{name}").unlink()
    with pytest.raises(InputError) as caught:
        read_planetoid(folder, COUNTS)
    assert str(caught.value) == (
        f"{folder} lacks ind.cora.tx, ind.cora.graph: save what "
        "https://github.com/kimiyoung/planetoid/raw/master/data has under these names there"
    )


def unreachable(*_: Any, **__: Any) -> Any:
    raise requests.ConnectionError from OSError("Name or service not known")


def test_without_a_network_one_line_says_which_files_go_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "get", unreachable)
    with pytest.raises(InputError) as caught:
        open_cora(tmp_path / "cora", print)
    line = str(caught.value)
    assert "\n" not in line and "Name or service not known" in line
    for name in CHECKSUMS:
        address = f"https://github.com/kimiyoung/planetoid/raw/master/data/ind.cora.{name}"
        assert f"{address} as ind.cora.{name}" in line
    assert f"into {tmp_path / 'cora'} and give the same command" in line
    assert line.endswith("or use --dataset blocks, which needs no download")


def test_files_that_are_not_the_published_ones_are_refused(folder: Path) -> None:
    """Before they are read."""
    with pytest.raises(InputError, match=r"ind.cora.x has the wrong checksum: .*; remove .*again"):
        open_cora(folder, print)


def taken_for_published(folder: Path) -> list[Download]:
    def download(path: Path) -> Download:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Download("http://none.invalid", path.name, [PublishedFile(path.name, None, digest)])

    return [download(path) for path in sorted(folder.iterdir())]


def test_saved_files_are_read_without_a_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "get", unreachable)
    monkeypatch.setattr(planetoid, "DOWNLOADS", taken_for_published(folder))
    monkeypatch.setattr(planetoid.read_planetoid, "__defaults__", (COUNTS,))
    found = open_cora(folder, pytest.fail)
    np.testing.assert_array_equal(found.labels, GRAPH.labels)


def bits_changed(content: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in random.integers(0, len(changed), random.integers(1, 4)):
        changed[place] = random.integers(256)
    return bytes(changed)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("x", read_matrix),
        ("y", read_labels),
        ("graph", lambda path: read_neighbours(path, SMALL.nodes)),
    ],
)
def test_a_file_with_changed_bytes_is_read_or_refused_in_a_line(
    name: str, read: Callable[[Path], Any], tmp_path: Path
) -> None:
    content, random = files(GRAPH)[name], np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        (tmp_path / name).write_bytes(bits_changed(content, random))
        try:
            read(tmp_path / name)
        except InputError:
            refused += 1
    assert refused > 30
