"""Converts a batch with edge lists to a padded batch by a simple reference implementation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from datasets.dense_graphs import DenseBatch
from trainables.models.dense_neighbours import DenseNeighbours
from trainables.models.neighbours import Neighbours


@dataclass(frozen=True)
class FilledUp:
    """Rearranges values of the nodes and pairs of a batch with edge lists for a padded batch.

    Padding rows and pairs without an edge get values that would be noticed in any sum.

    Attributes:
        listed: Adjacency of the batch with edge lists.
    """

    listed: Neighbours

    @property
    def places(self) -> Tensor:
        """Index of each node within its graph, (N,) int64."""
        return torch.cat([torch.arange(n) for n in self.listed.batch.graph.bincount().tolist()])

    @property
    def shape(self) -> tuple[int, int]:
        """Number of graphs, and number of atoms of the largest graph."""
        return self.listed.batch.size, int(self.places.max()) + 1

    @property
    def rows(self) -> Tensor:
        """Row of each node in the padded batch, (N,) int64."""
        return self.listed.batch.graph * self.shape[1] + self.places

    @property
    def near(self) -> DenseNeighbours:
        graphs, atoms = self.shape
        there = torch.zeros(graphs * atoms, dtype=torch.bool)
        there[self.rows] = True
        near = torch.zeros(graphs * atoms * atoms, dtype=torch.bool)
        near[self._cells(*self.listed.batch.edge_index)] = True
        return DenseNeighbours.of(
            DenseBatch(
                node_features=torch.zeros(graphs * atoms, 11),
                positions=self.of_nodes(self.listed.positions),
                there=there.view(graphs, atoms),
                near=near.view(graphs, atoms, atoms),
                edge_types=torch.zeros(graphs, atoms, atoms, dtype=torch.int8),
                targets=torch.zeros(graphs),
            )
        )

    def of_nodes(self, x: Tensor) -> Tensor:
        filled = x.new_full((self.shape[0] * self.shape[1], *x.shape[1:]), 1e3)
        return filled.index_put((self.rows,), x)

    def of_pairs(self, x: Tensor) -> Tensor:
        graphs, atoms = self.shape
        filled = x.new_full((graphs * atoms * atoms, *x.shape[1:]), -1e3)
        one, other = self.listed.batch.edge_index[:, self.listed.one_way]
        filled = filled.index_put((self._cells(one, other),), x)
        return filled.index_put((self._cells(other, one),), x)

    def _cells(self, one: Tensor, other: Tensor) -> Tensor:
        return self.rows[one] * self.shape[1] + self.places[other]
