"""Sums over the neighbours of each node, the step that graph convolutions share.

Each sum is there twice: on a CPU as a compiled loop (`trainables.models.kernels`), elsewhere
written with tensors. Edges of a batch are sorted by source and there in both directions
(`datasets.graphs`), so a node's neighbours are the targets of its own stretch of edges, and the
gradient of a sum over neighbours is the same sum over gradients. What belongs to a pair of atoms
whichever way one looks, such as their distance, is there once a pair: half the edges.

Shapes below: nodes N, edges E, pairs P = E / 2, heads H, width W.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import leaky_relu, pad

from datasets.graphs import GraphBatch
from trainables.models import kernels
from trainables.models.groups import softmax


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
        return cls(batch.edge_index, pad(counts.cumsum(dim=0), (1, 0)), batch.reverse)

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
    def one_way(self) -> Tensor:
        """The number among the edges of one of each pair's two: (P,), ascending."""
        return (self.source < self.target).nonzero().squeeze(dim=1)

    @cached_property
    def pair(self) -> Tensor:
        """The pair of each edge: (E,)."""
        assert self.reverse is not None
        one_way = self.source < self.target
        number = one_way.cumsum(dim=0) - 1
        return torch.where(one_way, number, number[self.reverse])

    def both_ways(self, of_pairs: Tensor) -> Tensor:
        """What belongs to pairs, for each edge: (P, W) -> (E, W)."""
        return of_pairs.index_select(0, self.pair)

    def sum(self, x: Tensor, *, own: bool = False) -> Tensor:
        """``sum_j x_j`` over the neighbours j of each node i: (N, W) -> (N, W).

        `own`: over i itself, too.
        """
        if _is_for_loops(x):
            return _Sum.apply(x, own, self)  # pyright: ignore[reportReturnType]
        total = self.added_up(x.index_select(0, self.target))
        return total + x if own else total

    def filtered_sum(self, x: Tensor, filters: Tensor, *, own: bool = False) -> Tensor:
        """``sum_j x_j * f_ij``: (N, W), f (P, W) -> (N, W).

        `own`: x_i itself is added.
        """
        if _is_for_loops(x, filters):
            return _FilteredSum.apply(x, filters, own, self)  # pyright: ignore[reportReturnType]
        total = self.added_up(x.index_select(0, self.target) * self.both_ways(filters))
        return total + x if own else total

    def attended_sum(
        self, x: Tensor, filters: Tensor, to_own: Tensor, to_neighbour: Tensor, to_pair: Tensor
    ) -> Tensor:
        """``a_ii x_i + sum_j a_ij x_j * f_ij``, a the softmax of scores over i and its neighbours.

        The score of j is ``leaky_relu(to_own_i + to_neighbour_j + to_pair_ij)``, that of i itself
        ``leaky_relu(to_own_i + to_neighbour_i)``; slope 0.2.

        Args:
            x: (N, H, W).
            filters: f, (P, W), shared by the heads.
            to_own: (N, H).
            to_neighbour: (N, H).
            to_pair: (P, H).

        Returns:
            (N, H, W).
        """
        if _is_for_loops(x, filters, to_own, to_neighbour, to_pair):
            return _AttendedSum.apply(x, filters, to_own, to_neighbour, to_pair, self)  # pyright: ignore[reportReturnType]
        source, target = self.edge_index
        of_edges = to_own.index_select(0, source) + to_neighbour.index_select(0, target)
        scores = torch.cat([of_edges + self.both_ways(to_pair), to_own + to_neighbour])
        nodes = torch.arange(len(x), device=x.device)
        attention = softmax(
            leaky_relu(scores, kernels.SLOPE), torch.cat([source, nodes]), groups=len(x)
        )
        attention, own = attention.to(x.dtype).split([len(source), len(x)])
        messages = attention[:, :, None] * self.both_ways(filters)[:, None]
        heard = self.added_up(messages * x.index_select(0, target))
        return heard + own[:, :, None] * x

    def softened_sum(self, x: Tensor, of_pairs: Tensor, temperature: Tensor) -> Tensor:
        """``sum_j softmax_j(t m_ij) m_ij``, ``m_ij = relu(x_j + e_ij) + 1e-7``, of each feature.

        Args:
            x: (N, W).
            of_pairs: e, (P, W).
            temperature: t, (1,).

        Returns:
            (N, W).
        """
        if _is_for_loops(x, of_pairs, temperature):
            return _SoftenedSum.apply(x, of_pairs, temperature, self)  # pyright: ignore[reportReturnType]
        heard = x.index_select(0, self.target) + self.both_ways(of_pairs)
        messages = heard.relu() + kernels.EPSILON
        weights = softmax(temperature * messages, self.source, groups=len(x))
        return self.added_up(weights.to(x.dtype) * messages)

    def moments(self, directions: Tensor, weights: Tensor) -> Tensor:
        """``sum_j u_ij (x) e_ij``, an outer product, u pointing from i to j.

        Args:
            directions: u from the first to the second atom of each pair in `one_way`: (P, 3).
            weights: e, (P, W).

        Returns:
            (N, 3, W); has no gradient on a CPU.
        """
        if _is_for_loops(directions, weights):
            total = weights.new_empty(len(self.offsets) - 1, 3, weights.shape[1])
            edges = self.offsets, self.target, self.pair
            kernels.moments(*_arrays(directions, weights, *edges, total))
            return total
        of_pairs = directions[:, :, None] * weights[:, None]
        one_way = (self.source < self.target)[:, None, None]
        of_edges = self.both_ways(of_pairs)
        return self.added_up(torch.where(one_way, of_edges, -of_edges))

    def added_up(self, of_edges: Tensor) -> Tensor:
        """Over the edges of each node: (E, ...) -> (N, ...)."""
        total = of_edges.new_zeros(len(self.offsets) - 1, *of_edges.shape[1:])
        return total.index_add(0, self.source, of_edges)


def _is_for_loops(*tensors: Tensor) -> bool:
    """Not on a GPU, nor in the half precision of autocast, which may have some of them only."""
    (kind, *others) = {(tensor.device.type, tensor.dtype) for tensor in tensors}
    return not others and kind in (("cpu", torch.float32), ("cpu", torch.float64))


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    """The tensors' memory, in rows."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _room(like: Tensor) -> Tensor:
    """For a result of that shape, in rows whatever the order of `like` itself."""
    return torch.empty_like(like, memory_format=torch.contiguous_format)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, own: bool, near: Neighbours) -> Tensor:
        ctx.own, ctx.near = own, near
        total = _room(x)
        kernels.summed(own, *_arrays(x, near.offsets, near.target, total))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.near.sum(gradient, own=ctx.own), None, None


class _FilteredSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor, own: bool, near: Neighbours) -> Tensor:
        ctx.save_for_backward(x, filters)
        ctx.own, ctx.near = own, near
        total = _room(x)
        edges = near.offsets, near.target, near.pair
        kernels.filtered(own, *_arrays(x, filters, *edges, total))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, filters = ctx.saved_tensors
        near = ctx.near
        of_filters = _room(filters)
        kernels.filter_gradient(
            *_arrays(gradient, x, near.offsets, near.target, near.pair, of_filters)
        )
        return near.filtered_sum(gradient, filters, own=ctx.own), of_filters, None, None


class _AttendedSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        filters: Tensor,
        to_own: Tensor,
        to_neighbour: Tensor,
        to_pair: Tensor,
        near: Neighbours,
    ) -> Tensor:
        own = _room(to_own)
        attention = x.new_empty(len(near.target), x.shape[1])
        total = _room(x)
        given = x, filters, to_own, to_neighbour, to_pair
        edges = near.offsets, near.target, near.pair
        kernels.attended(*_arrays(*given, *edges, own, attention, total))
        ctx.save_for_backward(*given, own, attention)
        ctx.near = near
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        *given, own, attention = ctx.saved_tensors
        near = ctx.near
        edges = near.offsets, near.target, near.pair, near.reverse
        found = [_room(one) for one in given]
        work = _room(attention)
        kernels.attended_gradients(
            *_arrays(gradient, *given, *edges, own, attention, work, *found)
        )
        return *found, None


class _SoftenedSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, of_pairs: Tensor, temperature: Tensor, near: Neighbours
    ) -> Tensor:
        weights = x.new_empty(len(near.target), x.shape[1])
        total = _room(x)
        given = x, of_pairs, temperature
        edges = near.offsets, near.target, near.pair
        kernels.softened_exponents(*_arrays(*given, *edges, weights))
        weights.exp_()
        kernels.softened(*_arrays(x, of_pairs, *edges, weights, total))
        ctx.save_for_backward(*given, weights, total)
        ctx.near = near
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        *given, weights, total = ctx.saved_tensors
        near = ctx.near
        edges = near.offsets, near.target, near.pair
        found = [_room(one) for one in given]
        kernels.softened_gradients(*_arrays(gradient, *given, *edges, weights, total, *found))
        return *found, None
