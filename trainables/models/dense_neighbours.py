"""Sums over neighbours by dense matrices; implements `trainables.models.adjacency`.

All graphs of a batch are padded to one size (`datasets.dense_graphs`). Properties of pairs of
nodes form one matrix for each graph, with both directions, and are masked where there is no edge.
Shapes never change and nothing is gathered, so that no step synchronises with the GPU and all sums
are deterministic.

Shapes in this module: graphs B, atoms A of the largest graph, nodes N = B * A, pairs
P = B * A * A, heads H, width W.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, normalize

from datasets.dense_graphs import DenseBatch
from trainables.models import kernels


@dataclass(frozen=True)
class DenseNeighbours:
    """The `trainables.models.adjacency.Adjacency` of a batch of padded graphs.

    Attributes:
        batch: Batch of padded graphs.
        degree: Number of neighbours of each node, (N, 1) int64.
        atoms: Number of nodes of each graph, (B, 1) int64.
    """

    batch: DenseBatch
    degree: Tensor
    atoms: Tensor

    kept = None

    @classmethod
    def of(cls, batch: DenseBatch) -> "DenseNeighbours":
        """Makes the adjacency of a batch by counting its neighbours and nodes."""
        return cls(batch, batch.near.sum(dim=2).view(-1, 1), batch.there.sum(dim=1, keepdim=True))

    def _of_graphs(self, of_nodes: Tensor) -> Tensor:
        """Reshapes values of nodes by graph, (N, ...) -> (B, A, ...)."""
        return of_nodes.unflatten(0, self.batch.there.shape)

    def _between(self, of_pairs: Tensor) -> Tensor:
        """Reshapes values of pairs to matrices, (P, ...) -> (B, A, A, ...); node i comes before
        its neighbour j."""
        return of_pairs.unflatten(0, self.batch.near.shape)

    @cached_property
    def _far(self) -> Tensor:
        """Mask of the pairs without an edge, (B, A, A, 1) bool."""
        return ~self.batch.near[..., None]

    @cached_property
    def _itself(self) -> Tensor:
        """Mask of the pairs of a node with itself, (1, A, A, 1) bool."""
        atoms = self.batch.near.shape[1]
        return torch.eye(atoms, dtype=torch.bool, device=self.batch.near.device)[None, ..., None]

    @cached_property
    def _vectors(self) -> Tensor:
        """Vectors from each node i to each node j, (B, A, A, 3), in Angstrom."""
        positions = self._of_graphs(self.positions)
        return positions[:, None] - positions[:, :, None]

    @property
    def there(self) -> Tensor:
        return self.batch.there.flatten()

    @property
    def positions(self) -> Tensor:
        return self.batch.positions

    @property
    def distances(self) -> Tensor:
        return self._vectors.norm(dim=3).flatten()

    @property
    def edge_types(self) -> Tensor:
        return self.batch.edge_types.flatten().long()

    def sum(self, x: Tensor, *, own: bool = False) -> Tensor:
        total = (self.batch.near.to(x.dtype) @ self._of_graphs(x)).flatten(end_dim=1)
        return total + x if own else total

    def filtered_sum(self, x: Tensor, filters: Tensor, *, own: bool = False) -> Tensor:
        filters = self._between(filters).masked_fill(self._far, 0)
        total = (filters * self._of_graphs(x)[:, None]).sum(dim=2).flatten(end_dim=1)
        return total + x if own else total

    def attention_aggregate(
        self,
        x: Tensor,
        filters: Tensor | None,
        own: Tensor,
        neighbour: Tensor,
        to_pair: Tensor | None,
    ) -> Tensor:
        to_own, to_neighbour = ((x * weights).sum(dim=2) for weights in (own, neighbour))
        scores = self._of_graphs(to_own)[:, :, None] + self._of_graphs(to_neighbour)[:, None]
        if to_pair is not None:
            scores = scores + self._between(to_pair).masked_fill(self._itself, 0)
        scores = leaky_relu(scores, kernels.SLOPE)
        nobody = self._far & ~self._itself
        attention = scores.masked_fill(nobody, -torch.inf).softmax(dim=2)  # (B, A, A, H)
        x = self._of_graphs(x)
        if filters is None:
            return torch.einsum("bijh,bjhw->bihw", attention, x).flatten(end_dim=1)
        filters = self._between(filters).masked_fill(self._itself, 1)
        sent = filters[:, :, :, None] * x[:, None]  # (B, A, A, H, W)
        return (attention[..., None] * sent).sum(dim=2).flatten(end_dim=1)

    def softmax_aggregate(self, x: Tensor, of_pairs: Tensor | None, temperature: Tensor) -> Tensor:
        heard = self._of_graphs(x)[:, None]
        if of_pairs is not None:
            heard = heard + self._between(of_pairs)
        # EPSILON, which is added to each message, does not change the softmax; it is added below.
        messages = heard.relu()
        scores = temperature * messages
        least = torch.finfo(scores.dtype).min  # finite, for the softmax of nodes without edges
        weights = scores.masked_fill(self._far, least).softmax(dim=2)  # (B, A, A, W)
        total = (weights * messages).sum(dim=2).flatten(end_dim=1) + kernels.EPSILON
        return total * (self.degree > 0)

    def directed_sum(
        self, x: Tensor, filters: Tensor, vectors: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        filters = self._between(filters).masked_fill(self._far, 0)
        width = x.shape[1] // (2 if vectors is None else 3)
        scalar, along, *further = (filters * self._of_graphs(x)[:, None]).split(width, dim=3)
        unit = normalize(self._vectors, dim=3)
        heard = unit.transpose(2, 3) @ along  # (B, A, 3, W)
        if vectors is not None:
            heard = heard + torch.einsum("bijw,bjcw->bicw", *further, self._of_graphs(vectors))
        return scalar.sum(dim=2).flatten(end_dim=1), heard.flatten(end_dim=1)

    def moments(self, weights: Tensor | None) -> Tensor:
        unit = normalize(self._vectors, dim=3).masked_fill(self._far, 0)
        if weights is None:
            return unit.sum(dim=2).flatten(end_dim=1)[:, :, None]
        return (unit.transpose(2, 3) @ self._between(weights)).flatten(end_dim=1)

    def graph_sums(self, x: Tensor) -> Tensor:
        return self._of_graphs(x).masked_fill(~self.batch.there[..., None], 0).sum(dim=1)

    def graph_means(self, x: Tensor) -> Tensor:
        return self.graph_sums(x) / self.atoms.clamp(min=1)

    def to_nodes(self, of_graphs: Tensor) -> Tensor:
        return of_graphs[:, None].expand(-1, self.batch.there.shape[1], -1).flatten(end_dim=1)
