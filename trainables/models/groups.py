"""Rows in groups that follow each other, such as the atoms of molecules or the edges of nodes.

Rows are added up in their order, gradients too, so that a sum comes out the same each time: on a
GPU, `Tensor.index_add` and the gradient of `Tensor.index_select` add in whatever order its
threads come. On a CPU `sums` and `means` are PyG's to the last bit.

Shapes below: rows N, groups G, any further axes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Groups:
    """Which rows belong together.

    Attributes:
        of_row: (N,) int64, ascending: the group of each row.
        offsets: (G + 1,) int64: group g has the rows offsets[g] to offsets[g + 1].
    """

    of_row: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, of_row: Tensor, groups: int) -> "Groups":
        """Finds where each group begins; waits for no GPU."""
        numbers = torch.arange(groups + 1, device=of_row.device)
        return cls(of_row, torch.searchsorted(of_row.contiguous(), numbers))

    @cached_property
    def sizes(self) -> Tensor:
        """Rows of each group: (G, 1) int64."""
        return self.offsets.diff()[:, None]

    def sums(self, x: Tensor) -> Tensor:
        """Adds up the rows of each group: (N, ...) -> (G, ...)."""
        if x.device.type == "cpu":  # several times as fast there, and in the same order
            return x.new_zeros(len(self.offsets) - 1, *x.shape[1:]).index_add(0, self.of_row, x)
        if x.dtype in (torch.bfloat16, torch.float16):  # it would add up with as few digits
            return self.sums(x.float()).to(x.dtype)
        return torch.segment_reduce(x, "sum", offsets=self.offsets, unsafe=True)

    def means(self, x: Tensor) -> Tensor:
        """Averages the rows of each group: (N, W) -> (G, W); 0 for an empty group."""
        return self.sums(x) / self.sizes.clamp(min=1)

    def largest(self, x: Tensor) -> Tensor:
        """Finds the largest number of each group: (N, ...) -> (G, ...), without a gradient."""
        return torch.segment_reduce(x.detach(), "max", offsets=self.offsets, unsafe=True)

    def to_rows(self, of_groups: Tensor) -> Tensor:
        """Gives each row what its group has: (G, ...) -> (N, ...)."""
        return taken(of_groups, self.of_row, self.sums)


def taken(x: Tensor, places: Tensor, gradient: Callable[[Tensor], Tensor]) -> Tensor:
    """Takes the rows of x at some places.

    Args:
        x: (N, ...).
        places: (M,) int64.
        gradient: Adds up a gradient of the result, (M, ...), to that of x.

    Returns:
        (M, ...).
    """
    return _Taken.apply(x, places, gradient)  # pyright: ignore[reportReturnType]


class _Taken(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, places: Tensor, gradient: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.gradient = gradient
        return x.index_select(0, places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.gradient(gradient), None, None
