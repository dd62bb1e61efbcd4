"""Sums over neighbours: compiled loops against tensors, values and gradients."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from datasets.graphs import GraphBatch, GraphStore
from trainables.models import neighbours
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


def by_tensors(method: str, near: Neighbours, *inputs: Tensor, **options: bool) -> Tensor:
    """The path that is not for a CPU, taken on one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(neighbours, "_is_for_loops", lambda *_: False)
        return getattr(near, method)(*inputs, **options)


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
    to_own = torch.tensor([[0.0], [math.log(2)], [0.0]])
    to_pair = torch.tensor([[0.0], [math.log(2)]])
    found = near.attended_sum(x, filters, to_own, torch.zeros(3, 1), to_pair)
    assert found[1].item() == pytest.approx(10 / 4 + 2 * 1 / 4 + 3 * 100 / 2)


def test_moments_turn_their_sign_on_the_way_back_by_hand():
    """One pair along z, weights 1 and 5."""
    near = path(2, [(0, 1), (1, 0)])
    found = near.moments(torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 5.0]]))
    assert found.tolist() == [[[0, 0], [0, 0], [1, 5]], [[0, 0], [0, 0], [-1, -5]]]


@pytest.mark.parametrize("own", [False, True])
def test_the_sum_is_the_same_by_loops_and_by_tensors(own, near):
    x = numbers(len(near.offsets) - 1, WIDTH)
    assert_paths_agree(near.sum(x, own=own), by_tensors("sum", near, x, own=own), x)


@pytest.mark.parametrize("own", [False, True])
def test_the_filtered_sum_is_the_same_by_loops_and_by_tensors(own, near):
    x, filters = numbers(len(near.offsets) - 1, WIDTH), numbers(len(near.one_way), WIDTH, seed=1)
    slow = by_tensors("filtered_sum", near, x, filters, own=own)
    assert_paths_agree(near.filtered_sum(x, filters, own=own), slow, x, filters)


@pytest.mark.parametrize("heads", [1, 3])
def test_the_attended_sum_is_the_same_by_loops_and_by_tensors(heads, near):
    nodes, pairs = len(near.offsets) - 1, len(near.one_way)
    given = (
        numbers(nodes, heads, WIDTH),
        numbers(pairs, WIDTH, seed=1),
        numbers(nodes, heads, seed=2),
        numbers(nodes, heads, seed=3),
        numbers(pairs, heads, seed=4),
    )
    slow = by_tensors("attended_sum", near, *given)
    assert_paths_agree(near.attended_sum(*given), slow, *given)


def test_the_softened_sum_is_the_same_by_loops_and_by_tensors(near):
    x, pairs = numbers(len(near.offsets) - 1, WIDTH), numbers(len(near.one_way), WIDTH, seed=1)
    temperature = torch.tensor([1.7], dtype=torch.float64).requires_grad_()
    slow = by_tensors("softened_sum", near, x, pairs, temperature)
    fast = near.softened_sum(x, pairs, temperature)
    assert_paths_agree(fast, slow, x, pairs, temperature)


def test_moments_are_the_same_by_loops_and_by_tensors(near):
    given = numbers(len(near.one_way), 3).detach(), numbers(len(near.one_way), WIDTH).detach()
    slow = by_tensors("moments", near, *given)
    torch.testing.assert_close(near.moments(*given), slow, rtol=1e-12, atol=1e-12)


def test_scores_too_large_for_an_exponential_are_no_matter():
    near = path(2, [(0, 1), (1, 0)])
    x, filters = torch.ones(2, 1, 1), torch.ones(1, 1)
    scores = torch.full((2, 1), 1e4)
    found = near.attended_sum(x, filters, scores, scores, torch.ones(1, 1))
    assert found.flatten().tolist() == pytest.approx([1.0, 1.0])


def test_columns_of_a_larger_tensor_are_summed_like_their_copy(near):
    """Their rows do not follow each other in memory."""
    x = numbers(WIDTH, len(near.offsets) - 1).T
    assert_paths_agree(near.sum(x), near.sum(x.contiguous()), x)
    filters = numbers(WIDTH, len(near.one_way), seed=1).T
    copied = near.filtered_sum(x.contiguous(), filters.contiguous())
    assert_paths_agree(near.filtered_sum(x, filters), copied, x, filters)


def test_half_precision_goes_by_tensors(near):
    x, filters = numbers(len(near.offsets) - 1, WIDTH), numbers(len(near.one_way), WIDTH, seed=1)
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
    attended = near.attended_sum(
        x[:, None], numbers(0, WIDTH), numbers(3, 1), numbers(3, 1), numbers(0, 1)
    )
    assert torch.equal(attended[:, 0], x)
    assert torch.equal(near.softened_sum(x, numbers(0, WIDTH), numbers(1)), nothing)
    assert torch.equal(near.moments(numbers(0, 3), numbers(0, WIDTH)).sum(dim=1), nothing)
