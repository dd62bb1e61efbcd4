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
        return Pairs(one_way, both_ways, self.source[both_ways], self.target[both_ways], rows)

    def both_ways(self, of_pairs: Tensor) -> Tensor:
        """What belongs to pairs, for each edge: (P, W) -> (E, W)."""
        return of_pairs.index_select(0, self.pairs.rows % max(1, len(of_pairs)))

    def sum(self, x: Tensor) -> Tensor:
        """``sum_j x_j`` over the neighbours j of each node i: (N, W) -> (N, W)."""
        return _Sum.apply(x, self)  # pyright: ignore[reportReturnType]

    def filtered_sum(
        self, x: Tensor, of_pairs: Tensor, layer: nn.Linear, attention: Tensor | None = None
    ) -> Tensor:
        """``sum_j a_ij x_j * f_ij`` with filters f that a linear layer makes of what pairs are.

        Args:
            x: (N, W).
            of_pairs: (P, features); gets no gradient.
            layer: features -> W.
            attention: a, (E,), that of each edge's source to its target; None: 1.

        Returns:
            (N, W).
        """
        return _FilteredSum.apply(x, attention, layer.weight, layer.bias, of_pairs, self)  # pyright: ignore[reportReturnType]

    def bags(self, rows: Tensor, numbers: Tensor, weights: Tensor | None = None) -> Tensor:
        """Adds up the rows whose numbers lie on each node's edges, each times its weight if there
        are weights: (rows, W), (E,), (E,) -> (N, W).

        Not differentiable. Detached, rows go the shorter way that only computes the sum.
        """
        return nn.functional.embedding_bag(
            numbers,
            rows.detach(),
            self.offsets,
            mode="sum",
            per_sample_weights=weights,
            include_last_offset=True,
        )


@dataclass(frozen=True)
class Pairs:
    """Edges in another order: one way of each pair, then the way back of each.

    Attributes:
        one_way: (P,) int64, the number among the edges of one of a pair's two.
        edges: (E,) int64, the number of each.
        own: (E,) int64, the node at the beginning.
        other: (E,) int64, the node at the end.
        rows: (E,) int64, where each edge is in this order.
    """

    one_way: Tensor
    edges: Tensor
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
    """Layer, products and sum as one step of the graph of gradients.

    Of arrays with a row an edge, the largest there are, as few as possible are written: products
    overwrite what they are made of, the attention is left to the sums, and the gradients of filter
    and attention are matrix products with the layer's few features, never with a filter an edge.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        attention: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        of_pairs: Tensor,
        near: Neighbours,
    ) -> Tensor:
        filters = nn.functional.linear(of_pairs, weight, bias)
        ctx.save_for_backward(x, attention, weight, bias, of_pairs, filters)
        ctx.near = near
        return _pass(x, filters, attention, near)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, attention, weight, bias, of_pairs, filters = ctx.saved_tensors
        near, pairs = ctx.near, ctx.near.pairs
        of_pairs, weight, bias = (t.to(filters.dtype) for t in (of_pairs, weight, bias))
        # Of a filter times its attention; of the way there of each pair, then of the way back.
        of_edges = gradient.index_select(0, pairs.own).mul_(x.index_select(0, pairs.other))
        if attention is None:
            there, back = of_edges.chunk(2)
            of_filters = there.add_(back)
            of_weight, of_bias = of_filters.t() @ of_pairs, of_filters.sum(dim=0)
            of_x = _pass(gradient, filters, None, near)
            return of_x, None, of_weight, of_bias, None, None
        both = torch.cat([of_pairs, of_pairs])
        of_attention = ((of_edges @ weight) * both).sum(dim=1) + of_edges @ bias
        attended = attention.index_select(0, pairs.edges)
        of_weight = of_edges.t() @ both.mul_(attended[:, None])
        of_bias = of_edges.t() @ attended
        of_x = _pass(gradient, filters, attention.index_select(0, near.reverse), near)
        return of_x, of_attention.index_select(0, pairs.rows), of_weight, of_bias, None, None


def _pass(x: Tensor, filters: Tensor, attention: Tensor | None, near: Neighbours) -> Tensor:
    """``sum_j a_ij x_j * f_ij``: (N, W), (P, W), (E,) or None -> (N, W)."""
    messages = x.index_select(0, near.pairs.other)
    messages.unflatten(0, (2, -1)).mul_(filters)
    return near.bags(messages, near.pairs.rows, attention)
