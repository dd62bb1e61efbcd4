"""A batch with listed edges as one of graphs of one size, made by the obvious way."""

from dataclasses import dataclass

import torch
from torch import Tensor

from datasets.dense_graphs import DenseBatch
from trainables.models.dense_neighbours import DenseNeighbours
from trainables.models.neighbours import Neighbours


@dataclass(frozen=True)
class FilledUp:
    """What belongs to nodes and pairs of `listed`, in the order of a batch that is filled up.

    Where no node is and where no edge is, there are numbers that would show in any sum.
    """

    listed: Neighbours

    @property
    def places(self) -> Tensor:
        """Of each node in its graph."""
        return torch.cat([torch.arange(n) for n in self.listed.batch.graph.bincount().tolist()])

    @property
    def shape(self) -> tuple[int, int]:
        """Graphs, and atoms of the largest."""
        return self.listed.batch.size, int(self.places.max()) + 1

    @property
    def rows(self) -> Tensor:
        """Of each node."""
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
