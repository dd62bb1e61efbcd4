"""Reductions over contiguous groups of rows, such as the atoms of molecules or edges of nodes.

Rows and gradients are summed in a fixed order, so that results are deterministic: on a GPU,
`Tensor.index_add` and the gradient of `Tensor.index_select` add in the arbitrary order of threads.
On a CPU, `Groups.sums` and `Groups.means` are bit-identical to PyG's.

Shapes in this module: rows N, groups G, any further axes.
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
    """A partition of rows into contiguous groups.

    Attributes:
        of_row: Group of each row, (N,) int64, ascending.
        offsets: First row of each group, (G + 1,) int64: group g consists of the rows
            ``offsets[g]`` to ``offsets[g + 1] - 1``.
    """

    of_row: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, of_row: Tensor, groups: int) -> "Groups":
        """Makes groups from the group of each row, without synchronising a GPU.

        Args:
            of_row: Group of each row, (N,) int64, ascending.
            groups: Number of groups, G.
        """
        numbers = torch.arange(groups + 1, device=of_row.device)
        return cls(of_row, torch.searchsorted(of_row.contiguous(), numbers))

    @cached_property
    def sizes(self) -> Tensor:
        """Number of rows of each group, (G, 1) int64."""
        return self.offsets.diff()[:, None]

    def sums(self, x: Tensor) -> Tensor:
        """Sums the rows of each group, (N, ...) -> (G, ...)."""
        if x.device.type == "cpu":  # index_add is several times as fast, in the same order
            return x.new_zeros(len(self.offsets) - 1, *x.shape[1:]).index_add(0, self.of_row, x)
        if x.dtype in (torch.bfloat16, torch.float16):  # it would accumulate in half precision
            return self.sums(x.float()).to(x.dtype)
        return torch.segment_reduce(x, "sum", offsets=self.offsets, unsafe=True)

    def means(self, x: Tensor) -> Tensor:
        """Averages the rows of each group, (N, W) -> (G, W); 0 for an empty group."""
        return self.sums(x) / self.sizes.clamp(min=1)

    def largest(self, x: Tensor) -> Tensor:
        """Returns the maximum over the rows of each group, (N, ...) -> (G, ...), without a
        gradient."""
        return torch.segment_reduce(x.detach(), "max", offsets=self.offsets, unsafe=True)

    def to_rows(self, of_groups: Tensor) -> Tensor:
        """Copies the values of each group to its rows, (G, ...) -> (N, ...)."""
        return taken(of_groups, self.of_row, self.sums)


def taken(x: Tensor, places: Tensor, gradient: Callable[[Tensor], Tensor]) -> Tensor:
    """Selects rows by index, with a gradient computed by a given function.

    Args:
        x: Rows to select from, (N, ...).
        places: Indices of the selected rows, (M,) int64.
        gradient: Function that turns the gradient with respect to the result, (M, ...), into that
            with respect to x, (N, ...).

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
