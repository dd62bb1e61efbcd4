"""Sums over the neighbours of each node, the step that graph convolutions share.

The edges of a batch are sorted by source and there in both directions (`datasets.graphs`), so a
node's neighbours are the targets of its own stretch of edges. A sum over them is then one bag of
PyTorch's embedding bags, which adds up rows without sorting, scattering or writing them down
first; and because every edge has its way back, the gradient of such a sum is the same sum over the
gradients. What belongs to a pair of atoms whichever way one looks, such as their distance, is
there once a pair: half the edges. All of this is faster than gather and scatter on a CPU.

Shapes below: nodes N, edges E, pairs P = E / 2, width W.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from datasets.graphs import GraphBatch


@dataclass(frozen=True)
class Neighbours:
    """Who is next to whom.

    Attributes:
        edge_index: (2, E) int64, sorted by source; every edge is there in both directions.
        offsets: (N + 1,) int64: node n owns the edges offsets[n] to offsets[n + 1].
        reverse: (E,) int64, the number of each edge's way back; None where nothing is known of
            pairs.
    """

    edge_index: Tensor
    offsets: Tensor
    reverse: Tensor | None

    @classmethod
    def of(cls, batch: GraphBatch) -> "Neighbours":
        """Finds each node's stretch of edges."""
        counts = torch.bincount(batch.edge_index[0], minlength=len(batch.positions))
        offsets = nn.functional.pad(counts.cumsum(dim=0), (1, 0))
        return cls(batch.edge_index, offsets, batch.reverse)

    @property
    def source(self) -> Tensor:
        """(E,), ascending."""
        return self.edge_index[0]

    @property
    def target(self) -> Tensor:
        """(E,)."""
        return self.edge_index[1]

    @cached_property
    def degree(self) -> Tensor:
        """Number of neighbours of each node: (N, 1) int64."""
        return self.offsets.diff()[:, None]

    @cached_property
    def edges(self) -> Tensor:
        """The numbers of all edges: (E,)."""
        return torch.arange(self.edge_index.shape[1], device=self.edge_index.device)

    @cached_property
    def pairs(self) -> "Pairs":
        """The same edges, one pair and its two directions at a time."""
        assert self.reverse is not None
        one_way = (self.source < self.target).nonzero().squeeze(dim=1)
        both_ways = torch.cat([one_way, self.reverse[one_way]])
        rows = torch.empty_like(both_ways)
        rows[both_ways] = self.edges
        return Pairs(one_way, self.source[both_ways], self.target[both_ways], rows)

    def both_ways(self, of_pairs: Tensor) -> Tensor:
        """What belongs to pairs, for each edge: (P, W) -> (E, W)."""
        return of_pairs.index_select(0, self.pairs.rows % max(1, len(of_pairs)))

    def sum(self, x: Tensor) -> Tensor:
        """``sum_j x_j`` over the neighbours j of each node i: (N, W) -> (N, W)."""
        return _Sum.apply(x, self)  # pyright: ignore[reportReturnType]

    def filtered_sum(self, x: Tensor, of_pairs: Tensor, layer: nn.Linear) -> Tensor:
        """``sum_j x_j * f_ij`` with filters f that a linear layer makes of what pairs are.

        Args:
            x: (N, W).
            of_pairs: (P, features); gets no gradient.
            layer: features -> W.
        """
        return _FilteredSum.apply(x, layer.weight, layer.bias, of_pairs, self)  # pyright: ignore[reportReturnType]

    def attended_sum(self, x: Tensor, attention: Tensor, filters: Tensor) -> Tensor:
        """``sum_j a_ij x_j * f_ij`` for each of several heads H.

        Args:
            x: (N, H, W).
            attention: a, (E, H), that of each edge's source to its target.
            filters: f, (P, W), shared by the heads.

        Returns:
            (N, H, W).
        """
        return _AttendedSum.apply(x, attention, filters, self)  # pyright: ignore[reportReturnType]

    def bags(self, rows: Tensor, numbers: Tensor) -> Tensor:
        """Adds up the rows whose numbers lie on each node's edges: (rows, W), (E,) -> (N, W).

        Not differentiable. Detached, rows go the shorter way that only computes the sum.
        """
        return nn.functional.embedding_bag(
            numbers, rows.detach(), self.offsets, mode="sum", include_last_offset=True
        )


@dataclass(frozen=True)
class Pairs:
    """Edges in another order: one way of each pair, then the way back of each.

    Attributes:
        one_way: (P,) int64, the number among the edges of one of a pair's two.
        own: (E,) int64, the node at the beginning.
        other: (E,) int64, the node at the end.
        rows: (E,) int64, where each edge is in this order.
    """

    one_way: Tensor
    own: Tensor
    other: Tensor
    rows: Tensor


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, near: Neighbours) -> Tensor:
        ctx.near = near
        return near.bags(x, near.target)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.near.bags(gradient.contiguous(), ctx.near.target), None


class _FilteredSum(torch.autograd.Function):
    """One step of the graph of gradients for layer, product and sum: nothing is kept but x and the
    filters, and each product overwrites what it was made of."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, of_pairs: Tensor, near: Neighbours
    ) -> Tensor:
        filters = nn.functional.linear(of_pairs, weight, bias)
        ctx.save_for_backward(x, filters, of_pairs)
        ctx.near = near
        return _pass(x, filters, near)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, filters, of_pairs = ctx.saved_tensors
        pairs = ctx.near.pairs
        of_edges = gradient.index_select(0, pairs.own).mul_(x.index_select(0, pairs.other))
        there, back = of_edges.chunk(2)
        of_filters = there.add_(back)
        of_weight = of_filters.t() @ of_pairs.to(of_filters.dtype)
        return _pass(gradient, filters, ctx.near), of_weight, of_filters.sum(dim=0), None, None


def _pass(x: Tensor, filters: Tensor, near: Neighbours) -> Tensor:
    """``sum_j x_j * f_ij``: (N, W), (P, W) -> (N, W)."""
    messages = x.index_select(0, near.pairs.other)
    messages.unflatten(0, (2, -1)).mul_(filters)
    return near.bags(messages, near.pairs.rows)


class _AttendedSum(torch.autograd.Function):
    """Written out for the same reason as `_FilteredSum`; edges are sorted by source here."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, attention: Tensor, filters: Tensor, near: Neighbours
    ) -> Tensor:
        ctx.save_for_backward(x, attention, filters)
        ctx.near = near
        messages = x.index_select(0, near.target).mul_(attention[:, :, None])
        messages.mul_(near.both_ways(filters)[:, None])
        return near.bags(messages.flatten(start_dim=1), near.edges).view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, attention, filters = ctx.saved_tensors
        near = ctx.near
        filters = near.both_ways(filters)[:, None]  # (E, 1, W)
        there = gradient.index_select(0, near.source)  # (E, H, W)
        product = there * x.index_select(0, near.target)
        of_filters = (product * attention[:, :, None]).sum(dim=1)
        one_way = near.pairs.one_way
        of_pairs = of_filters.index_select(0, one_way)
        of_pairs += of_filters.index_select(0, near.reverse.index_select(0, one_way))
        of_attention = product.mul_(filters).sum(dim=2)
        back = there.mul_(attention[:, :, None]).mul_(filters)
        of_x = near.bags(back.flatten(start_dim=1), near.reverse).view_as(x)
        return of_x, of_attention, of_pairs, None
