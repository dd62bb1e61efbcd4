"""Sums over neighbours and molecules: compiled loops, tensors by lists of edges, and matrices of
graphs that are filled up; values and gradients."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from filled_up import FilledUp
from torch import Tensor

from datasets.graphs import GraphBatch, GraphStore
from trainables.models import neighbours
from trainables.models.neighbours import Neighbours

CPU = torch.device("cpu")
WIDTH = 5


@pytest.fixture
def near(molecules) -> Neighbours:
    """Those of a batch of molecules within 3 Angstrom, and of a lone atom, in 64 bits."""
    batch = GraphStore(molecules.graphs, CPU, cutoff=3.0).select(torch.tensor([3, 119, 0, 3]))
    return Neighbours.of(
        replace(
            batch,
            positions=torch.cat([batch.positions, torch.zeros(1, 3)]).double(),
            graph=torch.cat([batch.graph, torch.tensor([4])]),
            targets=torch.zeros(5),
        )
    )


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """In 64 bits, so that two orders of a sum agree to 1e-12."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def path(
    atoms: int, edges: list[tuple[int, int]], positions: list[list[float]] | None = None
) -> Neighbours:
    """Neighbours by hand; the edges sorted."""
    return Neighbours.of(
        GraphBatch(
            node_features=torch.zeros(atoms, 11),
            positions=torch.zeros(atoms, 3) if positions is None else torch.tensor(positions),
            graph=torch.zeros(atoms, dtype=torch.int64),
            edge_index=torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T,
            edge_types=torch.zeros(len(edges), dtype=torch.int64),
            targets=torch.zeros(1),
        )
    )


def assert_paths_agree(fast: Tensor, slow: Tensor, *inputs: Tensor) -> None:
    """Values, and the gradients of a sum with unequal weights."""
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    weights = numbers(*fast.shape, seed=9).detach()
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
    assert near.sum(x, own=True).tolist() == [[11], [111], [110], [1000]]
    filters = torch.tensor([[2.0], [3.0]])
    assert near.both_ways(filters).tolist() == [[2], [2], [3], [3]]
    assert near.filtered_sum(x, filters).tolist() == [[20], [302], [30], [0]]
    assert near.filtered_sum(x, filters, own=True).tolist() == [[21], [312], [130], [1000]]


def test_what_belongs_to_a_pair_is_the_same_both_ways(near):
    pairs = numbers(len(near.one_way), WIDTH).detach()
    found = near.both_ways(pairs)
    by_ends = {
        (source, target): row
        for source, target, row in zip(
            near.source.tolist(), near.target.tolist(), found.tolist(), strict=True
        )
    }
    assert all(by_ends[b, a] == row for (a, b), row in by_ends.items())
    assert len({tuple(row) for row in by_ends.values()}) == len(pairs)


def test_attention_is_a_softmax_over_a_node_and_its_neighbours_by_hand():
    """Scores of node 1: log 2 for itself and for node 0, log 4 for node 2, hence 1/4, 1/4, 1/2."""
    near = path(3, [(0, 1), (1, 0), (1, 2), (2, 1)])
    x = torch.tensor([[1.0], [10.0], [100.0]])[:, :, None]
    filters = torch.tensor([[2.0], [3.0]])
    own, neighbour = torch.tensor([[math.log(2) / 10]]), torch.zeros(1, 1)
    to_pair = torch.tensor([[0.0], [math.log(2)]])
    found = near.attention_aggregate(x, filters, own, neighbour, to_pair)
    assert found[1].item() == pytest.approx(10 / 4 + 2 * 1 / 4 + 3 * 100 / 2)


def test_moments_turn_their_sign_on_the_way_back_by_hand():
    """One pair along z, two Angstrom apart, weights 1 and 5."""
    near = path(2, [(0, 1), (1, 0)], [[0.0, 0, 0], [0, 0, 2]])
    found = near.moments(torch.tensor([[1.0, 5.0]]))
    assert found.tolist() == [[[0, 0], [0, 0], [1, 5]], [[0, 0], [0, 0], [-1, -5]]]
    assert near.moments(None).tolist() == [[[0], [0], [1]], [[0], [0], [-1]]]


def test_directed_messages_by_hand():
    """One pair along z: a scalar, the direction times a number, and the other one's vector."""
    near = path(2, [(0, 1), (1, 0)], [[0.0, 0, 0], [0, 0, 2]])
    x = torch.tensor([[1.0, 2, 3], [10, 20, 30]])
    vectors = torch.tensor([[[1.0], [0], [0]], [[0.0], [1], [0]]])
    scalars, directions = near.directed_sum(x, torch.tensor([[1.0, 2, 4]]), vectors)
    assert scalars.tolist() == [[10], [1]]
    assert directions.tolist() == [[[0], [120], [40]], [[12], [0], [-4]]]
    scalars, directions = near.directed_sum(x[:, :2], torch.tensor([[1.0, 2]]), None)
    assert scalars.tolist() == [[10], [1]]
    assert directions.tolist() == [[[0], [0], [40]], [[0], [0], [-4]]]


def test_the_way_back_is_found_where_it_is_not_given(near):
    found = Neighbours.of(replace(near.batch, reverse=None)).reverse
    assert torch.equal(found, near.batch.reverse)


def side_by_side(scalars: Tensor, vectors: Tensor) -> Tensor:
    """Returns scalars (N, W) and vectors (N, 3, W) as one tensor, (N, 4 W)."""
    return torch.cat([scalars, vectors.flatten(start_dim=1)], dim=1)


SUMS: dict[str, tuple[Callable[..., Tensor], list[Any]]] = {
    "sum": (lambda near, x: near.sum(x), ["N"]),
    "sum with itself": (lambda near, x: near.sum(x, own=True), ["N"]),
    "filtered": (lambda near, x, f: near.filtered_sum(x, f), ["N", "P"]),
    "filtered with itself": (lambda near, x, f: near.filtered_sum(x, f, own=True), ["N", "P"]),
    "attended": (
        lambda near, x, f, *scored: near.attention_aggregate(x, f, *scored),
        [("N", 3, WIDTH), "P", (3, WIDTH), (3, WIDTH), ("P", 3)],
    ),
    "attended by one head": (
        lambda near, x, f, *scored: near.attention_aggregate(x, f, *scored),
        [("N", 1, WIDTH), "P", (1, WIDTH), (1, WIDTH), ("P", 1)],
    ),
    "attended without pairs": (
        lambda near, x, own, other: near.attention_aggregate(x, None, own, other, None),
        [("N", 3, WIDTH), (3, WIDTH), (3, WIDTH)],
    ),
    "softened": (lambda near, x, e, t: near.softmax_aggregate(x, e, t), ["N", "P", (1,)]),
    "softened without pairs": (lambda near, x, t: near.softmax_aggregate(x, None, t), ["N", (1,)]),
    "directed": (
        lambda near, x, f, v: side_by_side(*near.directed_sum(x, f, v)),
        [("N", 3 * WIDTH), ("P", 3 * WIDTH), ("N", 3, WIDTH)],
    ),
    "directed without vectors": (
        lambda near, x, f: side_by_side(*near.directed_sum(x, f, None)),
        [("N", 2 * WIDTH), ("P", 2 * WIDTH)],
    ),
    "graph sums": (lambda near, x: near.graph_sums(x), ["N"]),
    "graph means": (lambda near, x: near.graph_means(x), ["N"]),
    "to nodes": (lambda near, x: near.to_nodes(x), [("G", WIDTH)]),
}
"""Name -> the sum, and the shapes of what it is of: a letter alone is a row of `WIDTH` numbers for
each node, pair or graph."""


def inputs_of(name: str, near: Neighbours) -> list[Tensor]:
    counts = {"N": len(near.positions), "P": len(near.one_way), "G": near.batch.size}
    shapes: list[Any] = [(s, WIDTH) if isinstance(s, str) else s for s in SUMS[name][1]]
    known = [[counts[n] if isinstance(n, str) else n for n in shape] for shape in shapes]
    return [numbers(*shape, seed=seed) for seed, shape in enumerate(known)]


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_is_the_same_by_loops_and_by_tensors(name, near, monkeypatch):
    given, work = inputs_of(name, near), SUMS[name][0]
    expected = work(near, *given)
    monkeypatch.setattr(neighbours, "_is_for_loops", lambda *_: False)
    assert_paths_agree(work(near, *given), expected, *given)


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_is_the_same_by_lists_and_by_matrices(name, near):
    given, filled = inputs_of(name, near), FilledUp(near)
    work, shapes = SUMS[name]
    ways: dict[Any, Callable[[Tensor], Tensor]] = {"N": filled.of_nodes, "P": filled.of_pairs}
    filled_up = [ways.get(s[0], Tensor.clone)(x) for s, x in zip(shapes, given, strict=True)]
    found = work(filled.near, *filled_up)
    if not name.startswith("graph"):
        found = found[filled.rows]
    assert_paths_agree(found, work(near, *given), *given)


@pytest.mark.parametrize("weighed", [True, False])
def test_moments_are_the_same_by_loops_tensors_and_matrices(weighed, near, monkeypatch):
    weights = numbers(len(near.one_way), WIDTH).detach() if weighed else None
    expected = near.moments(weights)
    filled = FilledUp(near)
    by_matrices = filled.near.moments(None if weights is None else filled.of_pairs(weights))
    torch.testing.assert_close(by_matrices[filled.rows], expected, rtol=1e-12, atol=1e-12)
    monkeypatch.setattr(neighbours, "_is_for_loops", lambda *_: False)
    torch.testing.assert_close(near.moments(weights), expected, rtol=1e-12, atol=1e-12)


def test_counts_and_distances_are_the_same_by_lists_and_by_matrices(near):
    filled = FilledUp(near)
    dense = filled.near
    assert torch.equal(dense.degree[filled.rows], near.degree)
    assert torch.equal(dense.atoms, near.atoms)
    assert dense.there.nonzero().flatten().tolist() == filled.rows.tolist()
    expected = filled.of_pairs(near.distances)
    there = expected > 0
    assert torch.equal(dense.distances[there], expected[there])


def test_scores_too_large_for_an_exponential_are_no_matter():
    near = path(2, [(0, 1), (1, 0)])
    x, filters = torch.ones(2, 1, 1), torch.ones(1, 1)
    large = torch.full((1, 1), 1e4)
    found = near.attention_aggregate(x, filters, large, large, torch.ones(1, 1))
    assert found.flatten().tolist() == pytest.approx([1.0, 1.0])


def test_columns_of_a_larger_tensor_are_summed_like_their_copy(near):
    """Their rows do not follow each other in memory."""
    x = numbers(WIDTH, len(near.positions)).T
    assert_paths_agree(near.sum(x), near.sum(x.contiguous()), x)
    filters = numbers(WIDTH, len(near.one_way), seed=1).T
    copied = near.filtered_sum(x.contiguous(), filters.contiguous())
    assert_paths_agree(near.filtered_sum(x, filters), copied, x, filters)


def test_half_precision_goes_by_tensors(near):
    x, filters = numbers(len(near.positions), WIDTH), numbers(len(near.one_way), WIDTH, seed=1)
    found = near.sum(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), near.sum(x), rtol=0.05, atol=0.1)
    # As autocast has them where a layer made the filters and an addition x.
    found = near.filtered_sum(x.float(), filters.bfloat16())
    torch.testing.assert_close(found.double(), near.filtered_sum(x, filters), rtol=0.05, atol=0.1)


def test_nodes_without_any_edge_sum_up_to_nothing():
    near = path(3, [])
    x = numbers(3, WIDTH)
    nothing = torch.zeros(3, WIDTH, dtype=torch.float64)
    assert torch.equal(near.sum(x), nothing)
    assert torch.equal(near.filtered_sum(x, numbers(0, WIDTH)), nothing)
    attended = near.attention_aggregate(
        x[:, None], numbers(0, WIDTH), numbers(1, WIDTH), numbers(1, WIDTH), numbers(0, 1)
    )
    assert torch.equal(attended[:, 0], x)
    assert torch.equal(near.softmax_aggregate(x, numbers(0, WIDTH), numbers(1)), nothing)
    assert near.moments(numbers(0, WIDTH).detach()).abs().max() == 0
