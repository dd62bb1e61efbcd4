"""Sums and means over groups are PyG's to the last bit, their gradients too; a GPU's are the
same."""

from collections.abc import Callable

import pytest
import torch
from contracts import SomeGPU
from pretended_gpu import GPU
from torch import Tensor
from torch_geometric.nn import global_add_pool, global_mean_pool

from trainables.models.groups import Groups, taken

GROUP = torch.tensor([0, 0, 0, 0, 1, 1, 3, 4, 4])
"""Of nine rows, in five groups, of which one is empty."""

WORK: dict[str, Callable[[Groups, Tensor], Tensor]] = {
    "sums": Groups.sums,
    "means": Groups.means,
    "to rows": lambda groups, x: groups.to_rows(x[:5]),
}


def made(work: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The result, and the gradient of its sum with unequal weights."""
    own = x.clone().requires_grad_()
    out = work(own)
    (out * torch.arange(out.numel(), device=out.device).view_as(out)).sum().backward()
    assert own.grad is not None
    return out.detach(), own.grad


def rows(*further: int) -> Tensor:
    return torch.randn(9, *further, generator=torch.Generator().manual_seed(0)) * 30


PYGS: dict[str, Callable[..., Tensor]] = {"sums": global_add_pool, "means": global_mean_pool}


@pytest.mark.parametrize("name", PYGS)
def test_they_are_those_of_pyg(name: str) -> None:
    groups = Groups.of(GROUP, 5)
    ours = made(lambda x: WORK[name](groups, x), rows(3))
    theirs = made(lambda x: PYGS[name](x, GROUP, 5), rows(3))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "further"),
    [("sums", (3,)), ("sums", (2, 4)), ("means", (3,)), ("to rows", (3,)), ("to rows", (2, 4))],
)
def test_on_a_gpu_they_are_the_same(name: str, further: tuple[int, ...], a_gpu: SomeGPU) -> None:
    groups = Groups.of(GROUP, 5)
    expected = made(lambda x: WORK[name](groups, x), rows(*further))
    with a_gpu() as gpu:
        there, x = GROUP.to(GPU), rows(*further).to(GPU)
        gpu.waits.clear()
        found = made(lambda x: WORK[name](Groups.of(there, 5), x), x)
        assert (gpu.waits, gpu.mixed) == ([], [])
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one.cpu(), other)


def test_sizes_are_those_of_the_groups() -> None:
    assert Groups.of(GROUP, 6).sizes.flatten().tolist() == [4, 2, 0, 1, 2, 0]


def test_the_largest_of_each_group_has_no_gradient() -> None:
    x = torch.tensor([3.0, -1, 9, 2, -5, -4, 7, 0, 1]).requires_grad_()
    found = Groups.of(GROUP, 5).largest(x)
    assert found.tolist() == [9, -4, -torch.inf, 7, 1]
    assert not found.requires_grad


def test_the_gradient_of_taken_rows_is_added_up_as_asked() -> None:
    x = torch.tensor([1.0, 2.0, 3.0]).requires_grad_()
    found = taken(x, torch.tensor([2, 0, 2]), lambda g: torch.stack([g[1], g[1] * 0, g[0] + g[2]]))
    assert found.tolist() == [3, 1, 3]
    (found * torch.tensor([1.0, 10, 100])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [10, 0, 101]
