"""Where a fit's batches come from on a CPU and on a GPU, and that they hold the same molecules."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from odd_molecules import LONE, with_odd_ones
from pretended_gpu import GPU

from datasets import pair_graphs, stores
from datasets.dense_graphs import DenseBatch, DenseStore
from datasets.graphs import NO_BOND, GraphBatch, Graphs, GraphStore, Selection
from datasets.pair_graphs import with_pairs
from datasets.stores import DENSE_ATOMS, store_of

CPU = torch.device("cpu")
CUTOFFS = [0.1, 1.3, 2.0, 4.0, 99.0]

# Two molecules by hand: A - B = C on a line (1 and 1.5 Angstrom apart), and D alone.
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


def edges_of(batch: GraphBatch | DenseBatch) -> list[dict[tuple[int, int], int]]:
    """For each graph, (source, target) -> edge type, its nodes counted from 0."""
    if isinstance(batch, DenseBatch):
        return [
            {(i, j): int(types[i, j]) for i, j in near.nonzero().tolist()}
            for near, types in zip(batch.near, batch.edge_types, strict=True)
        ]
    first = torch.searchsorted(batch.graph, torch.arange(batch.size, device=batch.graph.device))
    found: list[dict[tuple[int, int], int]] = [{} for _ in first]
    graph = batch.graph[batch.edge_index[0]]
    within = (batch.edge_index - first[graph]).T.tolist()
    for g, (i, j), kind in zip(graph.tolist(), within, batch.edge_types.tolist(), strict=True):
        found[g][i, j] = kind
    return found


def test_a_filled_up_batch_is_the_one_written_out_by_hand():
    batch = DenseStore(BY_HAND, CPU).select(torch.tensor([1, 0]))
    assert batch.size == 2
    assert batch.there.tolist() == [[True, False, False], [True, True, True]]
    assert batch.positions[:, 0].tolist() == [7, 0, 0, 0, 1, 2.5]
    assert batch.node_features[:, 0].tolist() == [33, 0, 0, 0, 11, 22]
    assert batch.node_features.dtype == batch.targets.dtype == torch.float32
    assert batch.targets.tolist() == [-2.0, 0.25]
    assert edges_of(batch) == [{}, {(0, 1): 0, (1, 0): 0, (1, 2): 1, (2, 1): 1}]
    assert (batch.edge_types[0] == NO_BOND).all()


def test_the_cutoff_itself_is_out_where_graphs_are_filled_up():
    near = edges_of(DenseStore(BY_HAND, CPU, 2.5).select(torch.arange(2)))
    assert near == [{(0, 1): 0, (1, 0): 0, (1, 2): 1, (2, 1): 1}, {}]
    far = edges_of(DenseStore(BY_HAND, CPU, 2.6).select(torch.arange(2)))
    assert far[0] == near[0] | {(0, 2): NO_BOND, (2, 0): NO_BOND}


@pytest.mark.parametrize("cutoff", [None, *CUTOFFS])
def test_filled_up_batches_hold_the_nodes_and_edges_of_listed_ones(cutoff, molecules):
    graphs = with_odd_ones(molecules.graphs)
    every = torch.arange(len(graphs)).flip(0)
    listed = GraphStore(graphs, CPU, cutoff).select(every)
    dense = DenseStore(graphs, CPU, cutoff).select(every)
    assert edges_of(dense) == edges_of(listed)
    there = dense.there.flatten()
    assert torch.equal(dense.node_features[there], listed.node_features)
    assert torch.equal(dense.positions[there], listed.positions)
    assert torch.equal(dense.there.sum(dim=1), listed.graph.bincount())
    assert torch.equal(dense.targets, listed.targets)
    assert dense.edge_types.dtype == torch.int8


@pytest.mark.parametrize("together", [7, 4096])
@pytest.mark.parametrize("cutoff", CUTOFFS)
def test_pairs_found_once_are_those_found_in_each_batch(cutoff, together, molecules, monkeypatch):
    monkeypatch.setattr(pair_graphs, "TOGETHER", together)
    graphs = with_odd_ones(molecules.graphs)
    paired = with_pairs(graphs, cutoff)
    chosen = torch.tensor([119, 3, 121, 120, 0, 3])
    found = GraphStore(paired, CPU).select(chosen)
    expected = GraphStore(graphs, CPU, cutoff).select(chosen)
    for field in fields(GraphBatch):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if field.name not in ("reverse", "kept"):
            assert one is other or torch.equal(one, other), field.name
    assert (paired.edge_index.dtype, paired.edge_types.dtype) == (np.uint8, np.int8)


def test_node_numbers_of_large_graphs_have_room():
    """A chain of 300 atoms, 1 Angstrom apart."""
    positions = np.zeros((300, 3), np.float32)
    positions[:, 0] = np.arange(300)
    chain = replace(LONE, positions=positions, node_offsets=np.array([0, 300]))
    found = with_pairs(chain, 1.5).edge_index
    assert found[1, ::2].tolist() == [1, *range(2, 300)]
    assert found[1, 1::2].tolist() == [*range(298), 298]


@pytest.mark.parametrize("cutoff", [None, 3.0])
def test_small_molecules_are_filled_up_on_a_gpu_and_large_ones_listed(
    cutoff, molecules, a_gpu, monkeypatch
):
    most = int(np.diff(molecules.graphs.node_offsets).max())
    assert most <= DENSE_ATOMS
    assert isinstance(store_of(molecules.graphs, CPU, cutoff), GraphStore)
    with a_gpu():
        assert isinstance(store_of(molecules.graphs, GPU, cutoff), DenseStore)
        monkeypatch.setattr(stores, "DENSE_ATOMS", most)
        assert isinstance(store_of(molecules.graphs, GPU, cutoff), DenseStore)
        monkeypatch.setattr(stores, "DENSE_ATOMS", most - 1)
        listed = store_of(molecules.graphs, GPU, cutoff)
        assert isinstance(listed, GraphStore)
        some = torch.tensor([5, 119, 0])
        expected = edges_of(GraphStore(molecules.graphs, CPU, cutoff).select(some))
        assert edges_of(listed.select(some)) == expected


@pytest.mark.parametrize("most", [0, DENSE_ATOMS])
@pytest.mark.parametrize("cutoff", [None, 3.0])
def test_cutting_a_batch_waits_for_no_gpu(cutoff, most, molecules, a_gpu, monkeypatch):
    monkeypatch.setattr(stores, "DENSE_ATOMS", most)
    with a_gpu() as gpu:
        store = store_of(molecules.graphs, GPU, cutoff)
        chosen = Selection.of(torch.arange(120), GPU)
        gpu.waits.clear()
        for part in chosen.split(50):
            store.batch(part)
        assert (gpu.waits, gpu.mixed) == ([], [])
