"""Sums over the neighbours of nodes by edge lists; implements `trainables.models.adjacency`.

Each sum has two implementations: a compiled loop on a CPU (`trainables.models.kernels`), and
tensor operations elsewhere. The edges of a batch are sorted by source and present in both
directions (`datasets.graphs`). The neighbours of a node are therefore the targets of a contiguous
range of edges, and the gradient of a sum over neighbours is the same sum over gradients.
Properties of a pair of atoms that do not depend on the direction, such as their distance, are
stored once a pair, which halves their number. On a GPU, the sums never make the processor wait
and are deterministic.

Shapes in this module: nodes N, edges E, pairs P = E / 2, graphs G, heads H, width W.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import leaky_relu, normalize

from datasets.graphs import GraphBatch, KeptPairs
from trainables.models import kernels
from trainables.models.groups import Groups, taken


@dataclass(frozen=True)
class Neighbours:
    """The `trainables.models.adjacency.Adjacency` of a batch with edge lists.

    Attributes:
        batch: Batch whose edges are sorted by source, then target, and present in both directions.
        edges: Edges grouped by their source node.
        nodes: Nodes grouped by their graph.
    """

    batch: GraphBatch
    edges: Groups
    nodes: Groups

    there = None

    @classmethod
    def of(cls, batch: GraphBatch) -> "Neighbours":
        """Groups the edges of a batch by source node and its nodes by graph."""
        source, kept = batch.edge_index[0], batch.kept
        edges = Groups(source, kept.offsets) if kept else Groups.of(source, len(batch.positions))
        return cls(batch, edges, Groups.of(batch.graph, batch.size))

    @property
    def kept(self) -> KeptPairs | None:
        kept = self.batch.kept  # not if the batch has been converted to 64 bits since
        return kept if kept and kept.vectors.dtype == self.positions.dtype else None

    @property
    def positions(self) -> Tensor:
        return self.batch.positions

    @property
    def offsets(self) -> Tensor:
        """Start of each node's edges, (N + 1,) int64: node n is the source of the edges
        ``offsets[n]`` to ``offsets[n + 1] - 1``."""
        return self.edges.offsets

    @property
    def source(self) -> Tensor:
        """Source node of each edge, (E,) int64, ascending."""
        return self.batch.edge_index[0]

    @property
    def target(self) -> Tensor:
        """Target node of each edge, (E,) int64."""
        return self.batch.edge_index[1]

    @cached_property
    def reverse(self) -> Tensor:
        """Index of the opposite edge of each edge, (E,) int64."""
        if self.batch.reverse is not None:
            return self.batch.reverse
        nodes = len(self.positions)
        there, back = self.source * nodes + self.target, self.target * nodes + self.source
        return torch.searchsorted(there, back)

    @property
    def degree(self) -> Tensor:
        return self.edges.sizes

    @property
    def atoms(self) -> Tensor:
        return self.nodes.sizes

    @cached_property
    def one_way(self) -> Tensor:
        """Index of each pair's edge from the lower to the higher node, (P,) int64, ascending."""
        lower = self.source < self.target
        return lower.nonzero_static(size=len(lower) // 2).squeeze(dim=1)

    @cached_property
    def pair(self) -> Tensor:
        """Index of the pair that each edge belongs to, (E,) int64."""
        if self.kept is not None:
            return self.kept.pair
        one_way = self.source < self.target
        number = one_way.cumsum(dim=0) - 1
        return torch.where(one_way, number, number[self.reverse])

    @cached_property
    def vectors(self) -> Tensor:
        """Vector from the lower to the higher node of each pair, (P, 3), in Angstrom."""
        return self._vectors(self.batch.edge_index.index_select(1, self.one_way))

    def _vectors(self, ends: Tensor) -> Tensor:
        source, target = ends
        return self.positions.index_select(0, target) - self.positions.index_select(0, source)

    @property
    def distances(self) -> Tensor:
        return self.vectors.norm(dim=1)

    @property
    def edge_types(self) -> Tensor:
        return self.batch.edge_types.index_select(0, self.one_way)

    def both_ways(self, of_pairs: Tensor) -> Tensor:
        """Copies the values of each pair to its two edges, (P, ...) -> (E, ...)."""
        return taken(of_pairs, self.pair, self._added_both_ways)

    def _added_both_ways(self, of_edges: Tensor) -> Tensor:
        back = self.reverse.index_select(0, self.one_way)
        return of_edges.index_select(0, self.one_way) + of_edges.index_select(0, back)

    def of_target(self, x: Tensor) -> Tensor:
        """Copies to each edge the values of its target node, (N, ...) -> (E, ...)."""
        return taken(x, self.target, self._added_from_targets)

    def _added_from_targets(self, of_edges: Tensor) -> Tensor:
        return self.edges.sums(of_edges.index_select(0, self.reverse))

    def sum(self, x: Tensor, *, own: bool = False) -> Tensor:
        if _is_for_loops(x):
            return _Sum.apply(x, own, self)  # pyright: ignore[reportReturnType]
        total = self.edges.sums(self.of_target(x))
        return total + x if own else total

    def filtered_sum(self, x: Tensor, filters: Tensor, *, own: bool = False) -> Tensor:
        if _is_for_loops(x, filters):
            return _FilteredSum.apply(x, filters, own, self)  # pyright: ignore[reportReturnType]
        total = self.edges.sums(self.of_target(x) * self.both_ways(filters))
        return total + x if own else total

    def attention_aggregate(
        self,
        x: Tensor,
        filters: Tensor | None,
        own: Tensor,
        neighbour: Tensor,
        to_pair: Tensor | None,
    ) -> Tensor:
        if _is_for_loops(x, filters, own, neighbour, to_pair):
            return _AttendedSum.apply(x, filters, own, neighbour, to_pair, self)  # pyright: ignore[reportReturnType]
        to_own, to_neighbour = ((x * weights).sum(dim=2) for weights in (own, neighbour))
        scores = self.edges.to_rows(to_own) + self.of_target(to_neighbour)
        if to_pair is not None:
            scores = scores + self.both_ways(to_pair)
        scores, itself = (leaky_relu(s, kernels.SLOPE) for s in (scores, to_own + to_neighbour))
        most = torch.maximum(self.edges.largest(scores), itself.detach())
        weights, itself = (scores - self.edges.to_rows(most)).exp(), (itself - most).exp()
        heard = weights[:, :, None] * self.of_target(x)
        if filters is not None:
            heard = heard * self.both_ways(filters)[:, None]
        total = self.edges.sums(weights) + itself
        return (self.edges.sums(heard) + itself[:, :, None] * x) / total[:, :, None]

    def softmax_aggregate(self, x: Tensor, of_pairs: Tensor | None, temperature: Tensor) -> Tensor:
        if _is_for_loops(x, of_pairs, temperature):
            return _SoftenedSum.apply(x, of_pairs, temperature, self)  # pyright: ignore[reportReturnType]
        heard = self.of_target(x)
        if of_pairs is not None:
            heard = heard + self.both_ways(of_pairs)
        messages = heard.relu() + kernels.EPSILON
        scores = temperature * messages
        weights = (scores - self.edges.to_rows(self.edges.largest(scores))).exp()
        # The largest weight of a node that has neighbours is 1.
        total = self.edges.sums(weights).clamp(min=1)
        return self.edges.sums(weights * messages) / total

    def directed_sum(
        self, x: Tensor, filters: Tensor, vectors: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if _is_for_loops(x, filters, *(() if vectors is None else (vectors,))):
            none = x.new_empty(0, 3, x.shape[1] // 2)
            return _DirectedSum.apply(x, filters, none if vectors is None else vectors, self)  # pyright: ignore[reportReturnType]
        width = x.shape[1] // (2 if vectors is None else 3)
        messages = self.of_target(x) * self.both_ways(filters)
        scalar, along, *further = messages.split(width, dim=1)
        unit = normalize(self._vectors(self.batch.edge_index), dim=1)
        heard = unit[:, :, None] * along[:, None]
        if vectors is not None:
            heard = heard + further[0][:, None] * self.of_target(vectors)
        return self.edges.sums(scalar), self.edges.sums(heard)

    def moments(self, weights: Tensor | None) -> Tensor:
        if self.kept is not None and weights is self.kept.vectors:
            return self.kept.moments
        if weights is None:
            unit = normalize(self._vectors(self.batch.edge_index), dim=1)
            return self.edges.sums(unit)[:, :, None]
        unit = normalize(self.vectors, dim=1)
        if _is_for_loops(unit, weights):
            total = weights.new_empty(len(self.positions), 3, weights.shape[1])
            edges = self.offsets, self.target, self.pair
            kernels.moments(*_arrays(unit, weights, *edges, total))
            return total
        of_edges = self.both_ways(unit[:, :, None] * weights[:, None])
        one_way = (self.source < self.target)[:, None, None]
        return self.edges.sums(torch.where(one_way, of_edges, -of_edges))

    def graph_sums(self, x: Tensor) -> Tensor:
        return self.nodes.sums(x)

    def graph_means(self, x: Tensor) -> Tensor:
        return self.nodes.means(x)

    def to_nodes(self, of_graphs: Tensor) -> Tensor:
        return self.nodes.to_rows(of_graphs)


def _is_for_loops(*tensors: Tensor | None) -> bool:
    """Returns whether the compiled loops support the tensors: all given, on the CPU, and of the
    same type, float32 or float64 (autocast may have made some of them half precision)."""
    kinds = {None if each is None else (each.device.type, each.dtype) for each in tensors}
    (kind, *others) = kinds
    return not others and kind in (("cpu", torch.float32), ("cpu", torch.float64))


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    """Returns the tensors as contiguous (C-order) arrays that share their memory if possible."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _room(like: Tensor) -> Tensor:
    """Allocates a contiguous (C-order) tensor for a result of the shape and type of `like`."""
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
        own: Tensor,
        neighbour: Tensor,
        to_pair: Tensor,
        near: Neighbours,
    ) -> Tensor:
        nodes, heads, _ = x.shape
        to_own, to_neighbour = x.new_empty(2, nodes, heads)
        attention = x.new_empty(nodes + len(near.target), heads)
        parts = attention[:nodes], attention[nodes:]
        edges = near.offsets, near.target, near.pair
        scored = x, own, neighbour, to_pair, *edges, to_own, to_neighbour
        kernels.attention_exponents(*_arrays(*scored, *parts))
        attention.exp_()
        total = _room(x)
        kernels.attended(*_arrays(x, filters, *edges, *parts, total))
        ctx.save_for_backward(x, filters, own, neighbour, to_pair, to_own, to_neighbour, attention)
        ctx.near = near
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, filters, own, neighbour, to_pair, to_own, to_neighbour, attention = ctx.saved_tensors
        near = ctx.near
        edges = near.offsets, near.target, near.pair
        parts = attention[: len(x)], attention[len(x) :]
        of_attention = _room(attention)
        of_parts = of_attention[: len(x)], of_attention[len(x) :]
        found = [_room(one) for one in (x, filters, own, neighbour, to_pair)]
        of_x, of_filters, *of_scored = found
        kernels.attended_gradients(
            *_arrays(gradient, x, filters, *edges, near.reverse, *parts),
            *_arrays(*of_parts, of_x, of_filters),
        )
        kernels.score_gradients(
            *_arrays(x, own, neighbour, to_pair, *edges, to_own, to_neighbour, *parts),
            *_arrays(*of_parts, of_x, *of_scored),
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


class _DirectedSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, filters: Tensor, vectors: Tensor, near: Neighbours
    ) -> tuple[Tensor, Tensor]:
        unit = normalize(near.vectors, dim=1)
        width = vectors.shape[2]
        scalars, directions = x.new_empty(len(x), width), x.new_empty(len(x), 3, width)
        edges = near.offsets, near.target, near.pair
        kernels.directed(*_arrays(x, filters, vectors, unit, *edges, scalars, directions))
        ctx.save_for_backward(x, filters, vectors, unit)
        ctx.near = near
        return scalars, directions

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, of_scalars: Tensor, of_directions: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, filters, vectors, unit = ctx.saved_tensors
        near = ctx.near
        edges = near.offsets, near.target, near.pair
        found = [_room(one) for one in (x, filters, vectors)]
        given = of_scalars, of_directions, x, filters, vectors, unit
        kernels.directed_gradients(*_arrays(*given, *edges, *found))
        return *found, None
