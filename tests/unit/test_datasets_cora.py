"""Citation graphs and the splits of their nodes: what is read, generated and refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import SHARED_DATA
from scipy import sparse

from datasets import cora
from datasets.block_model import CLASSES, EDGES, HOMOPHILY, WORDS, block_model
from datasets.cache import Cache
from datasets.cora import NodeOptions, open_graph, read_graph, splits_of
from datasets.errors import InputError
from datasets.node_graph import NodeGraph
from datasets.splits import Split
from datasets.tools import Tools

CORA = SHARED_DATA / "cora.npz"


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    """A graph of 6 nodes in two classes with 3 words, as a file has it."""
    masks = np.eye(3, dtype=bool).repeat(2, axis=1)
    return {
        "x_row": np.array([0, 1, 2, 3, 5]),
        "x_col": np.array([0, 1, 2, 0, 1]),
        "x_shape": np.array([6, 3]),
        "edge_index": np.array([[0, 1, 1, 2, 4], [1, 0, 2, 2, 5]]),
        "y": np.array([0, 0, 1, 1, 0, 1]),
        "train_mask": masks[0],
        "val_mask": masks[1],
        "test_mask": masks[2],
        **changes,
    }


def file_of(folder: Path, given: dict[str, np.ndarray]) -> Path:
    np.savez(folder / "graph.npz", allow_pickle=False, **given)
    return folder / "graph.npz"


def test_a_file_is_read_with_each_edge_both_ways_and_no_loops(tmp_path: Path) -> None:
    graph = read_graph(file_of(tmp_path, arrays()))
    assert sorted(map(tuple, graph.edges.T.tolist())) == [
        *((0, 1), (1, 0), (1, 2), (2, 1), (4, 5), (5, 4)),
    ]
    assert graph.features.toarray()[5].tolist() == [0, 1, 0]
    assert graph.labels.tolist() == [0, 0, 1, 1, 0, 1]
    assert graph.public is not None
    assert graph.public.test.tolist() == [4, 5]
    assert (len(graph), graph.classes, graph.words) == (6, 2, 3)


def test_a_file_need_not_have_a_split(tmp_path: Path) -> None:
    given = arrays()
    del given["val_mask"]
    graph = read_graph(file_of(tmp_path, given))
    assert graph.public is None
    with pytest.raises(InputError, match=r"graph.npz comes with no split; expected random:N"):
        splits_of(graph, NodeOptions("graph.npz", "public"), seed=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x_shape": np.array([7, 3])}, "features of 7 nodes, labels of 6"),
        ({"y": np.array([0, 0, 2, 2, 0, 2])}, "labels that count from 0"),
        ({"y": np.array([0, 0, -1, 1, 0, 1])}, "labels that count from 0"),
        ({"edge_index": np.array([[0, 1], [1, 6]])}, "expected edges between nodes 0 to 5"),
        ({"edge_index": np.array([[0], [0]])}, "expected edges between"),
        ({"x_row": np.array([0, 1, 2, 3, 9])}, "is no graph"),
        ({"x_row": np.array([0, 1])}, "is no graph"),
        ({"x_shape": np.array([6, 3, 1])}, "is no graph"),
        ({"edge_index": np.array([[0, 1], [1, 2], [2, 3]])}, "expected .2, edges."),
        ({"edge_index": np.array([0, 1])}, "expected .2, edges."),
        ({"edge_index": np.array([[0.5], [1.5]])}, "edge_index is float64: expected whole"),
        ({"y": np.array([[0, 0, 1, 1, 0, 1]]).T}, "is no graph"),
        ({"x_shape": np.array(6)}, "is no graph"),
        ({"x_shape": np.array([6, 0])}, "is no graph"),
        ({"test_mask": np.eye(6, dtype=bool)[0]}, "to have no node in common"),
        ({"test_mask": np.array(["True"] * 6)}, "to mark some of as many nodes"),
        ({"train_mask": np.zeros(6, bool)}, "to mark some of as many nodes"),
        ({"test_mask": np.ones(7, bool)}, "to mark some of as many nodes"),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], said: str
) -> None:
    with pytest.raises(InputError, match=said) as error:
        read_graph(file_of(tmp_path, arrays(**changes)))
    assert "\n" not in str(error.value)


def test_another_file_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no graph: "):
        read_graph(tmp_path / "gone.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    with pytest.raises(InputError, match="is no graph: "):
        read_graph(tmp_path / "empty.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(InputError, match="is no graph: "):
        read_graph(tmp_path / "text.npz")
    with pytest.raises(InputError, match="has no array 'y': expected x_row, x_col"):
        given = arrays()
        del given["y"]
        read_graph(file_of(tmp_path, given))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dataset": "citeseer"}, "unknown --dataset citeseer: expected blocks, cora or the path"),
        ({"split": "random"}, "unknown --split random: expected public, or random:N"),
        ({"split": "random:0"}, "unknown --split random:0"),
        ({"split": "random:ten"}, "unknown --split random:ten"),
        ({"split": "random:" + "9" * 5000}, "unknown --split random:9"),
        ({"test_splits": 1}, "--test-splits 1: expected 2 or more"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        NodeOptions(**options)


@pytest.fixture(scope="module")
def generated() -> NodeGraph:
    return block_model(0)


def test_a_split_is_drawn_of_all_nodes_and_no_two_are_alike(generated: NodeGraph) -> None:
    splits = splits_of(generated, NodeOptions(test_splits=4), seed=1)
    assert (len(splits.search), len(splits.finals)) == (10, 4)
    every = [*splits.search, *splits.finals]
    for each in every:
        assert (len(each.train), len(each.validation)) == (140, 500)
        parts = np.concatenate([each.train, each.validation, each.test])
        assert np.array_equal(np.sort(parts), np.arange(len(generated)))
    assert len({each.train.tobytes() for each in every}) == len(every)
    again = splits_of(generated, NodeOptions(test_splits=6), seed=1)
    assert [s.train.tobytes() for s in again.search] == [s.train.tobytes() for s in splits.search]
    other = splits_of(generated, NodeOptions(test_splits=4), seed=2)
    assert other.search[0].train.tobytes() != splits.search[0].train.tobytes()


def test_too_many_labelled_nodes_leave_none_to_test(generated: NodeGraph) -> None:
    splits_of(generated, NodeOptions(split="random:1708"), seed=0)
    with pytest.raises(InputError, match="expected at most 1708 labelled of 2708 nodes"):
        splits_of(generated, NodeOptions(split="random:1709"), seed=0)


def test_the_public_split_is_that_of_every_network(tmp_path: Path) -> None:
    graph = read_graph(file_of(tmp_path, arrays()))
    splits = splits_of(graph, NodeOptions("graph.npz", "public", test_splits=3), seed=0)
    assert {id(each) for each in (*splits.search, *splits.finals)} == {id(graph.public)}
    assert len(splits.finals) == 3


def test_the_generated_graph_has_coras_statistics(generated: NodeGraph) -> None:
    assert np.bincount(generated.labels).tolist() == list(CLASSES)
    assert generated.edges.shape == (2, 2 * EDGES)
    alike = generated.labels[generated.edges[0]] == generated.labels[generated.edges[1]]
    assert alike.mean() == pytest.approx(HOMOPHILY, abs=1e-3)
    degrees = np.bincount(generated.edges[0], minlength=len(generated))
    assert (degrees == 0).mean() < 0.01
    assert degrees.max() > 10 * degrees.mean()
    assert generated.words == WORDS
    assert 16 < generated.features.nnz / len(generated) < 20
    assert set(generated.features.data.tolist()) == {1.0}


def test_the_generated_graph_is_always_the_same(generated: NodeGraph, tmp_path: Path) -> None:
    tools = Tools(Cache(tmp_path))
    assert open_graph(NodeOptions(), tools).digest_with([]) == generated.digest_with([])
    assert block_model(1).digest_with([]) != generated.digest_with([])


def test_a_digest_is_of_every_part(generated: NodeGraph) -> None:
    part = Split(np.array([0]), np.array([1]), np.array([2]))
    moved = Split(np.array([0]), np.array([2]), np.array([1]))
    labels = np.roll(generated.labels, 1)
    edges = generated.edges[:, :-2]
    features = sparse.csr_matrix(generated.features * 2)
    graphs = [
        generated,
        NodeGraph(generated.features, generated.edges, labels),
        NodeGraph(generated.features, edges, generated.labels),
        NodeGraph(features, generated.edges, generated.labels),
    ]
    found = {each.digest_with([part]) for each in graphs}
    assert len(found | {generated.digest_with([moved]), generated.digest_with([])}) == 6


def test_cora_is_that_of_planetoid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def opened(folder: Path, notify: Any) -> Any:
        del notify
        asked.append(folder)
        raise InputError("planted")

    monkeypatch.setattr(cora, "open_cora", opened)
    with pytest.raises(InputError, match="planted"):
        open_graph(NodeOptions("cora"), Tools(Cache(tmp_path)))
    assert asked == [tmp_path / "cora"]


@pytest.mark.skipif(not CORA.is_file(), reason="needs ../shared/data/cora.npz")
def test_cora_has_the_statistics_that_the_generated_graph_has() -> None:
    graph = read_graph(CORA)
    assert np.bincount(graph.labels).tolist() == list(CLASSES)
    assert graph.edges.shape == (2, 2 * EDGES)
    assert graph.words == WORDS
    alike = graph.labels[graph.edges[0]] == graph.labels[graph.edges[1]]
    assert alike.mean() == pytest.approx(HOMOPHILY, abs=2e-3)
    assert graph.public is not None
    assert [len(part) for part in vars(graph.public).values()] == [140, 500, 1000]
