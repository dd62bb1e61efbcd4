"""The store of graphs: batches, distance edges, files and the way through an object store."""

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from datasets.graphs import (
    BOND_TYPES,
    NO_BOND,
    GraphBatch,
    Graphs,
    GraphStore,
    Selection,
)

CPU = torch.device("cpu")

# Two molecules by hand, positions on a line: A - B = C (1 and 1.5 Angstrom apart), and D alone.
BY_HAND = Graphs(
    node_features=np.arange(44, dtype=np.int8).reshape(4, 11),
    positions=np.array([[0, 0, 0], [1, 0, 0], [2.5, 0, 0], [7, 8, 9]], np.float32),
    node_offsets=np.array([0, 3, 4]),
    edge_index=np.array([[0, 1, 1, 2], [1, 0, 2, 1]], np.int32),
    edge_types=np.array([0, 0, 1, 1], np.int8),
    edge_offsets=np.array([0, 4, 4]),
    targets=np.array([0.25, -2.0]),
    rows=np.array([3, 8]),
)


def collate(graphs: Graphs, chosen: list[int]) -> dict[str, np.ndarray]:
    """A batch the slow and obvious way: one graph after the other."""
    features, positions, graph, edges, types = [], [], [], [], []
    for place, number in enumerate(chosen):
        first, last = graphs.node_offsets[number], graphs.node_offsets[number + 1]
        begin, end = graphs.edge_offsets[number], graphs.edge_offsets[number + 1]
        for source, target in graphs.edge_index[:, begin:end].T:
            edges.append((source + len(graph), target + len(graph)))
        types += graphs.edge_types[begin:end].tolist()
        features += graphs.node_features[first:last].tolist()
        positions += graphs.positions[first:last].tolist()
        graph += [place] * int(last - first)
    return {
        "node_features": np.array(features, np.float32),
        "positions": np.array(positions, np.float32),
        "graph": np.array(graph),
        "edge_index": np.array(edges, np.int64).reshape(-1, 2).T,
        "edge_types": np.array(types, np.int64),
        "targets": graphs.targets[chosen].astype(np.float32),
    }


def select(graphs: Graphs, chosen: list[int], cutoff: float | None = None) -> GraphBatch:
    return GraphStore(graphs, CPU, cutoff).select(torch.tensor(chosen))


def whole(graphs: Graphs, cutoff: float | None = None) -> GraphBatch:
    """All graphs as one batch."""
    return select(graphs, list(range(len(graphs))), cutoff)


def near_pairs(graphs: Graphs, cutoff: float) -> list[dict[tuple[int, int], int]]:
    """For each graph, (source, target) -> edge type, by loops over all pairs in 64 bits."""
    found = []
    for graph in range(len(graphs)):
        xyz = graphs.positions[slice(*graphs.node_offsets[graph : graph + 2])].astype(float)
        edges = slice(*graphs.edge_offsets[graph : graph + 2])
        bonds = {
            (int(a), int(b)): int(kind)
            for a, b, kind in zip(
                *graphs.edge_index[:, edges], graphs.edge_types[edges], strict=True
            )
        }
        found.append(
            {
                (a, b): bonds.get((a, b), NO_BOND)
                for a in range(len(xyz))
                for b in range(len(xyz))
                if a != b and np.linalg.norm(xyz[a] - xyz[b]) < cutoff
            }
        )
    return found


def edges_of(batch: GraphBatch) -> list[dict[tuple[int, int], int]]:
    """For each graph, (source, target) -> edge type, its nodes counted from 0."""
    first = [int((batch.graph == graph).nonzero()[0]) for graph in range(batch.size)]
    found: list[dict[tuple[int, int], int]] = [{} for _ in first]
    for source, target, kind in zip(
        *batch.edge_index.tolist(), batch.edge_types.tolist(), strict=True
    ):
        graph = int(batch.graph[source])
        assert graph == int(batch.graph[target])
        pair = (source - first[graph], target - first[graph])
        assert pair not in found[graph]
        found[graph][pair] = kind
    return found


def arrays(graphs: Graphs) -> dict[str, np.ndarray]:
    """Those that there are: the molecules here have no prior."""
    return {name: array for name, array in vars(graphs).items() if array is not None}


def assert_equal(graphs: Graphs, others: Graphs) -> None:
    for name, array in arrays(graphs).items():
        other = getattr(others, name)
        np.testing.assert_array_equal(array, other, err_msg=name)
        assert array.dtype == other.dtype, name


def test_a_batch_is_the_one_written_out_by_hand():
    batch = select(BY_HAND, [1, 0, 1])
    assert batch.size == 3
    assert batch.graph.tolist() == [0, 1, 1, 1, 2]
    assert batch.edge_index.tolist() == [[1, 2, 2, 3], [2, 1, 3, 2]]
    assert batch.edge_types.tolist() == [0, 0, 1, 1]
    assert batch.positions[:, 0].tolist() == [7, 0, 1, 2.5, 7]
    assert batch.node_features[:, 0].tolist() == [33, 0, 11, 22, 33]
    assert batch.targets.tolist() == [-2.0, 0.25, -2.0]


@pytest.mark.parametrize(
    "chosen",
    [[0], [119], [5, 3, 4], [7, 7, 7], [118, 0, 118, 2, 0], list(range(119, -1, -1))],
    ids=["first", "last", "any order", "repeated", "both", "all backwards"],
)
def test_a_batch_equals_a_collate_of_single_graphs(chosen, molecules):
    batch = select(molecules.graphs, chosen)
    for name, expected in collate(molecules.graphs, chosen).items():
        found = getattr(batch, name).numpy()
        np.testing.assert_array_equal(found, expected, err_msg=name)
        assert found.dtype == expected.dtype, name


def test_edges_and_their_types_go_both_ways(molecules):
    for edges in edges_of(whole(molecules.graphs)):
        assert {(b, a): kind for (a, b), kind in edges.items()} == edges


def test_a_selection_is_cut_into_batches_in_its_order(molecules):
    chosen = Selection.of(torch.tensor([5, 119, 0, 5, 7]), CPU)
    store = GraphStore(molecules.graphs, CPU)
    parts = [store.batch(part) for part in chosen.split(2)]
    assert [part.size for part in parts] == [2, 2, 1]
    found = torch.cat([part.positions for part in parts])
    assert torch.equal(found, store.select(chosen.numbers).positions)


@pytest.mark.parametrize("cutoff", [None, 3.0])
def test_the_edges_of_a_batch_are_sorted_by_source_and_target(cutoff, molecules):
    source, target = select(molecules.graphs, [5, 119, 0, 5], cutoff).edge_index.numpy()
    assert np.array_equal(np.lexsort((target, source)), np.arange(len(source)))


def test_every_pair_knows_its_way_back(molecules):
    batch = select(molecules.graphs, [5, 119, 0, 5], 3.0)
    assert torch.equal(batch.edge_index[:, batch.reverse], batch.edge_index.flip(0))
    assert select(molecules.graphs, [5]).reverse is None


def test_pairs_are_those_written_out_by_hand():
    """Distances 1, 1.5 and 2.5; the cutoff itself is out."""
    near = edges_of(whole(BY_HAND, 2.5))
    assert near == [{(0, 1): 0, (1, 0): 0, (1, 2): 1, (2, 1): 1}, {}]
    far = edges_of(whole(BY_HAND, 2.6))
    assert far[0] == near[0] | {(0, 2): NO_BOND, (2, 0): NO_BOND}
    assert NO_BOND == BOND_TYPES - 1


@pytest.mark.parametrize("cutoff", [0.1, 1.3, 2.0, 4.0, 99.0])
def test_pairs_are_those_of_a_loop_over_all_pairs(cutoff, molecules):
    """No distance lies within float32 rounding of these cutoffs, so the sets are equal."""
    assert edges_of(whole(molecules.graphs, cutoff)) == near_pairs(molecules.graphs, cutoff)


@pytest.mark.parametrize("chosen", [[7], [119, 0, 119], list(range(119, -1, -1))])
def test_the_pairs_of_a_graph_do_not_depend_on_the_batch(chosen, molecules):
    expected = near_pairs(molecules.graphs, 3.0)
    found = edges_of(select(molecules.graphs, chosen, 3.0))
    assert found == [expected[graph] for graph in chosen]


def test_pairs_keep_every_bond_and_its_type(molecules):
    """No bond among H, C, N, O and F is as long as 2 Angstrom, the shortest cutoff searched."""
    for bonds, pairs in zip(
        edges_of(whole(molecules.graphs)), edges_of(whole(molecules.graphs, 2.0)), strict=True
    ):
        assert {pair: kind for pair, kind in pairs.items() if kind != NO_BOND} == bonds


def test_a_pair_keeps_the_type_of_its_own_direction():
    graphs = replace(BY_HAND, edge_types=np.array([0, 1, 2, 3], np.int8))
    found = edges_of(whole(graphs, 2.0))[0]
    assert found == {(0, 1): 0, (1, 0): 1, (1, 2): 2, (2, 1): 3}


def test_pairs_change_nothing_but_the_edges(molecules):
    bonds, pairs = whole(molecules.graphs), whole(molecules.graphs, 3.0)
    for field in fields(GraphBatch):
        if field.name in ("reverse", "kept", "prior", "charges"):
            continue
        with_bonds, with_pairs = getattr(bonds, field.name), getattr(pairs, field.name)
        assert torch.equal(with_pairs, with_bonds) == (not field.name.startswith("edge"))
        assert with_pairs.dtype == with_bonds.dtype


def test_files_give_the_graphs_back_read_only_and_mapped(molecules, tmp_path):
    molecules.graphs.save(tmp_path / "graphs")
    back = Graphs.load(tmp_path / "graphs")
    assert_equal(back, molecules.graphs)
    for name, array in arrays(back).items():
        assert not array.flags.writeable, name
        assert is_mapped(array), name


def is_mapped(array: np.ndarray | None) -> bool:
    while array is not None and not isinstance(array, np.memmap):
        array = array.base if isinstance(array.base, np.ndarray) else None
    return array is not None


def test_saving_keeps_what_another_process_saved_first_and_leaves_nothing_beside(
    molecules, tmp_path
):
    BY_HAND.save(tmp_path / "graphs")
    molecules.graphs.save(tmp_path / "graphs")
    assert_equal(Graphs.load(tmp_path / "graphs"), BY_HAND)
    assert [path.name for path in tmp_path.iterdir()] == ["graphs"]


def test_a_save_that_fails_leaves_no_folder_under_the_final_name(tmp_path, monkeypatch):
    save = np.save

    def full(file, array):
        if "targets" in str(file):
            raise OSError("no space left on device")
        save(file, array)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="no space left"):
        BY_HAND.save(tmp_path / "graphs")
    assert not (tmp_path / "graphs").exists()


def test_pickled_graphs_share_the_memory_of_their_buffers(molecules):
    """Protocol 5 hands the arrays over as they lie; that is how Ray's object store maps them."""
    graphs = molecules.graphs
    buffers = []
    pickled = pickle.dumps(graphs, protocol=5, buffer_callback=buffers.append)
    back = pickle.loads(pickled, buffers=buffers)
    assert_equal(back, graphs)
    for name, array in arrays(graphs).items():
        assert np.shares_memory(array, getattr(back, name)), name
    assert len(pickled) < 2_000  # names, shapes and types: no array is in there


def test_a_store_on_the_cpu_shares_the_memory_of_the_graphs(molecules):
    store, graphs = GraphStore(molecules.graphs, CPU), molecules.graphs
    tensors = {name: tensor for name, tensor in vars(store).items() if torch.is_tensor(tensor)}
    assert tensors.keys() | {"node_offsets", "edge_offsets", "rows"} == arrays(graphs).keys()
    tensors |= {"node_offsets": store.nodes.offsets, "edge_offsets": store.edges.offsets}
    for name, tensor in tensors.items():
        assert np.shares_memory(tensor.numpy(), getattr(graphs, name)), name


def test_a_batch_does_not_share_the_memory_of_the_store():
    """Whoever changes a batch must not change the molecules of every other trial."""
    batch = select(BY_HAND, [0, 1])
    for name, tensor in vars(batch).items():
        if tensor is None:
            continue
        tensor += 1
        assert not np.shares_memory(tensor.numpy(), getattr(BY_HAND, name, np.empty(0))), name
    assert BY_HAND.positions[3].tolist() == [7, 8, 9]
