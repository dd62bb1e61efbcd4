"""Sums over neighbours: the fast path against the plain one, values and gradients."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from datasets.graphs import GraphBatch, GraphStore
from trainables.models.neighbours import Neighbours

CPU = torch.device("cpu")
WIDTH = 5


@pytest.fixture
def near(molecules) -> Neighbours:
    """Those of a batch of molecules within 3 Angstrom, and of a lone atom at the end."""
    batch = GraphStore(molecules.graphs, CPU, cutoff=3.0).select(torch.tensor([3, 119, 0, 3]))
    return Neighbours.of(replace(batch, positions=torch.cat([batch.positions, torch.zeros(1, 3)])))


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """In 64 bits, so that two orders of a sum agree to 1e-12."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def path(atoms: int, edges: list[tuple[int, int]]) -> Neighbours:
    """Neighbours by hand; the edges sorted."""
    return Neighbours.of(
        GraphBatch(
            node_features=torch.zeros(atoms, 11),
            positions=torch.zeros(atoms, 3),
            graph=torch.zeros(atoms, dtype=torch.int64),
            edge_index=torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T,
            edge_types=torch.zeros(len(edges), dtype=torch.int64),
            targets=torch.zeros(1),
            reverse=torch.tensor([edges.index((b, a)) for a, b in edges], dtype=torch.int64),
        )
    )


def filter_of(features: int = 3) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(features, WIDTH, dtype=torch.float64)


def plain(near: Neighbours, messages: Tensor) -> Tensor:
    """Gather and scatter, as PyG's message passing does it."""
    total = messages.new_zeros(len(near.offsets) - 1, messages.shape[1])
    return total.index_add(0, near.source, messages)


def assert_paths_agree(fast: Tensor, slow: Tensor, *inputs: Tensor) -> None:
    """Values, and the gradients of a sum with unequal weights."""
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    weights = numbers(*fast.shape, seed=2).detach()
    expected = torch.autograd.grad((slow * weights).sum(), inputs)
    found = torch.autograd.grad((fast * weights).sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_stretches_of_edges_are_those_of_a_path_by_hand():
    near = path(4, [(0, 1), (1, 0), (1, 2), (2, 1)])
    assert near.offsets.tolist() == [0, 1, 3, 4, 4]
    assert near.degree.tolist() == [[1], [2], [1], [0]]
    x = torch.tensor([[1.0], [10.0], [100.0], [1000.0]])
    assert near.sum(x).tolist() == [[10], [101], [10], [0]]
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, 2)
    nn.init.constant_(layer.bias, 1)
    pairs = torch.tensor([[0.5], [1.0]])  # through the layer 2 and 3
    assert near.both_ways(pairs).tolist() == [[0.5], [0.5], [1.0], [1.0]]
    assert near.filtered_sum(x, pairs, layer).tolist() == [[20], [302], [30], [0]]


def test_what_belongs_to_a_pair_is_the_same_both_ways(near):
    pairs = numbers(len(near.edges) // 2, WIDTH).detach()
    found = near.both_ways(pairs)
    by_ends = {
        (source, target): row
        for source, target, row in zip(
            near.source.tolist(), near.target.tolist(), found.tolist(), strict=True
        )
    }
    assert all(by_ends[b, a] == row for (a, b), row in by_ends.items())
    assert len({tuple(row) for row in by_ends.values()}) == len(pairs)


def test_the_sum_is_that_of_gather_and_scatter(near):
    x = numbers(len(near.offsets) - 1, WIDTH)
    assert_paths_agree(near.sum(x), plain(near, x[near.target]), x)


def test_the_filtered_sum_is_that_of_gather_and_scatter(near):
    x, layer = numbers(len(near.offsets) - 1, WIDTH), filter_of()
    pairs = numbers(len(near.edges) // 2, 3, seed=1).detach()
    fast = near.filtered_sum(x, pairs, layer)
    slow = plain(near, x[near.target] * layer(near.both_ways(pairs)))
    assert_paths_agree(fast, slow, x, layer.weight, layer.bias)


def test_the_attended_sum_is_that_of_gather_and_scatter(near):
    """The attention of an edge is not that of its way back."""
    x, layer = numbers(len(near.offsets) - 1, WIDTH), filter_of()
    attention = numbers(len(near.edges), seed=1)
    pairs = numbers(len(near.edges) // 2, 3, seed=3).detach()
    fast = near.filtered_sum(x, pairs, layer, attention)
    messages = attention[:, None] * layer(near.both_ways(pairs)) * x[near.target]
    assert_paths_agree(fast, plain(near, messages), x, attention, layer.weight, layer.bias)


def test_nodes_without_any_edge_sum_up_to_nothing():
    near = path(3, [])
    x = numbers(3, WIDTH)
    for total in (
        near.sum(x),
        near.filtered_sum(x, numbers(0, 3), filter_of()),
        near.filtered_sum(x, numbers(0, 3), filter_of(), attention=numbers(0)),
    ):
        assert torch.equal(total, torch.zeros(3, WIDTH, dtype=torch.float64))
