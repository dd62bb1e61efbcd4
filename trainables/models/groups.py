"""Sums, means and softmaxes over groups of rows, such as the atoms of a molecule.

They are PyG's `scatter` and `softmax` to the last bit, without PyG.

Shapes below: rows N, groups G, any further axes.
"""

import torch
from torch import Tensor


def sums(x: Tensor, group: Tensor, groups: int) -> Tensor:
    """Adds up the rows of each group: (N, ...), the group of each row (N,) int64 -> (G, ...)."""
    return x.new_zeros(groups, *x.shape[1:]).scatter_add_(0, _broadcast(group, x), x)


def means(x: Tensor, group: Tensor, groups: int) -> Tensor:
    """Averages the rows of each group, in the shapes of `sums`; 0 for an empty group."""
    counts = sums(x.new_ones(len(x)), group, groups).clamp(min=1)
    summed = sums(x, group, groups)
    return summed / _broadcast(counts, summed)


def softmax(x: Tensor, group: Tensor, groups: int) -> Tensor:
    """The softmax of each row among those of its group: (N, ...) -> (N, ...)."""
    index = _broadcast(group, x)
    empty = x.new_zeros(groups, *x.shape[1:])
    most = empty.scatter_reduce_(0, index, x.detach(), reduce="amax", include_self=False)
    weights = torch.exp(x - most.index_select(0, group))
    total = sums(weights, group, groups) + 1e-16
    return weights / total.index_select(0, group)


def _broadcast(rows: Tensor, like: Tensor) -> Tensor:
    """(N,) -> the shape of another one, the same along its further axes."""
    return rows.view(-1, *[1] * (like.ndim - 1)).expand_as(like)
