"""Sums over neighbours: the fast path against the plain one, values and gradients."""

import pytest
import torch
from torch import Tensor, nn

from datasets.graphs import GraphStore
from trainables.models.neighbours import Neighbours

CPU = torch.device("cpu")
WIDTH = 5


@pytest.fixture
def near(molecules) -> Neighbours:
    """Those of a batch of molecules within 3 Angstrom, and of a lone atom at the end."""
    batch = GraphStore(molecules.graphs, CPU, cutoff=3.0).select(torch.tensor([3, 119, 0, 3]))
    return Neighbours.of(batch.edge_index, len(batch.positions) + 1)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """In 64 bits, so that two orders of a sum agree to 1e-12."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def edges_of(near: Neighbours) -> Tensor:
    """Some (E, 3) that are the same for an edge and its way back, as those of a distance are."""
    nodes = len(near.offsets) - 1
    table = numbers(nodes, nodes, 3, seed=1).detach()
    return (table + table.transpose(0, 1))[near.source, near.target]


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
    near = Neighbours.of(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 4)
    assert near.offsets.tolist() == [0, 1, 3, 4, 4]
    assert near.degree.tolist() == [[1], [2], [1], [0]]
    x = torch.tensor([[1.0], [10.0], [100.0], [1000.0]])
    assert near.sum(x).tolist() == [[10], [101], [10], [0]]
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, 2)
    nn.init.constant_(layer.bias, 1)
    edges = torch.tensor([[0.5], [0.5], [1.0], [1.0]])  # through the layer 2 and 3
    assert near.filtered_sum(x, edges, layer).tolist() == [[20], [302], [30], [0]]
    assert near.sum_edges(torch.tensor([[1.0], [2.0], [4.0], [8.0]])).tolist() == [
        [1],
        [6],
        [8],
        [0],
    ]


def test_the_sum_is_that_of_gather_and_scatter(near):
    x = numbers(len(near.offsets) - 1, WIDTH)
    assert_paths_agree(near.sum(x), plain(near, x[near.target]), x)


def test_the_filtered_sum_is_that_of_gather_and_scatter(near):
    x, edges, layer = numbers(len(near.offsets) - 1, WIDTH), edges_of(near), filter_of()
    fast = near.filtered_sum(x, edges, layer)
    slow = plain(near, x[near.target] * layer(edges))
    assert_paths_agree(fast, slow, x, layer.weight, layer.bias)


def test_the_sum_of_edges_is_that_of_scatter(near):
    messages = numbers(near.edge_index.shape[1], WIDTH)
    assert_paths_agree(near.sum_edges(messages), plain(near, messages), messages)


def test_nodes_without_any_edge_sum_up_to_nothing():
    near = Neighbours.of(torch.empty(2, 0, dtype=torch.int64), 3)
    x = numbers(3, WIDTH)
    for total in (
        near.sum(x),
        near.filtered_sum(x, torch.empty(0, 3, dtype=torch.float64), filter_of()),
        near.sum_edges(numbers(0, WIDTH)),
    ):
        assert torch.equal(total, torch.zeros(3, WIDTH, dtype=torch.float64))
