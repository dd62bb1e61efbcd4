"""Graphs that are filled up to the size of the largest, so that every batch has the same shape.

Where graphs are small this suits a GPU: a batch is an index-select along the first axis, nothing
has to be counted, and sums over neighbours are products and sums over an axis (see
`trainables.models.dense_neighbours`), which come out the same each time.

Shapes below: batch B, atoms A of the largest graph. Nodes are rows, A for each graph in turn.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datasets.graphs import NO_BOND, Graphs, Selection
from datasets.tensors import as_tensor


@dataclass(frozen=True)
class DenseBatch:
    """Some graphs, all filled up to A nodes.

    Attributes:
        node_features: (B * A, 11) float32, anything where no node is.
        positions: (B * A, 3) float32, Angstrom, finite where no node is.
        there: (B, A) bool, whether a row is a node.
        near: (B, A, A) bool, whether an edge leads from one node to the other: in both
            directions, and never from a node to itself.
        edge_types: (B, A, A) int8, see `datasets.graphs.BOND_TYPES`; `NO_BOND` where no bond is.
        targets: (B,) float32.
    """

    node_features: Tensor
    positions: Tensor
    there: Tensor
    near: Tensor
    edge_types: Tensor
    targets: Tensor

    @property
    def size(self) -> int:
        """Number of graphs."""
        return len(self.targets)


def near_pairs(positions: Tensor, there: Tensor, cutoff: float) -> Tensor:
    """Finds the pairs of nodes closer than the cutoff: (B, A, A) bool.

    Args:
        positions: (B, A, 3) float32, Angstrom.
        there: (B, A) bool.
        cutoff: Angstrom.
    """
    # By axis and in this order, as `datasets.pairs` does: what is at the cutoff is so there too.
    x, y, z = ((axis[:, :, None] - axis[:, None]).square() for axis in positions.unbind(dim=2))
    near = (x + y + z < cutoff**2) & there[:, :, None] & there[:, None]
    near.diagonal(dim1=1, dim2=2).fill_(False)
    return near


class DenseStore:
    """`Graphs` filled up to the largest of them, as tensors on one device; cutting a batch waits
    for nothing.

    Args:
        graphs: With bonds as edges.
        device: Where the batches are cut and live.
        cutoff: Angstrom: the edges are all ordered pairs of atoms closer than it. A pair that is
            a bond has its type, the others `NO_BOND`. None: the edges are the bonds.
    """

    def __init__(self, graphs: Graphs, device: torch.device, cutoff: float | None = None) -> None:
        self.device = device
        self.cutoff = cutoff
        counts = np.diff(graphs.node_offsets)
        self.node_features = as_tensor(_filled_up(graphs.node_features, counts), device)
        self.positions = as_tensor(_filled_up(graphs.positions, counts), device)
        self.edge_types = as_tensor(_types(graphs, counts.max()), device)
        self.targets = as_tensor(graphs.targets, device)
        self.there = as_tensor(np.arange(counts.max()) < counts[:, None], device)

    def select(self, graphs: Tensor) -> DenseBatch:
        """Cuts the batch of these graphs, in this order: their numbers, (batch,) int64, on the
        CPU."""
        return self.batch(Selection.of(graphs, self.device))

    def batch(self, chosen: Selection) -> DenseBatch:
        """Cuts the batch of the chosen graphs, in their order."""
        graphs = chosen.there
        positions, there = self.positions[graphs], self.there[graphs]
        types = self.edge_types[graphs]
        near = types != NO_BOND
        if self.cutoff is not None:
            near = near_pairs(positions, there, self.cutoff)
        return DenseBatch(
            node_features=self.node_features[graphs].float().flatten(end_dim=1),
            positions=positions.flatten(end_dim=1),
            there=there,
            near=near,
            edge_types=types,
            targets=self.targets[graphs].float(),
        )


def _filled_up(of_nodes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(nodes, W) -> (graphs, A, W), zero where no node is."""
    filled = np.zeros((len(counts), counts.max(), of_nodes.shape[1]), of_nodes.dtype)
    filled[np.arange(counts.max()) < counts[:, None]] = of_nodes
    return filled


def _types(graphs: Graphs, most: int) -> np.ndarray:
    """(graphs, A, A) int8."""
    types = np.full((len(graphs), most, most), NO_BOND, np.int8)
    graph = np.repeat(np.arange(len(graphs)), np.diff(graphs.edge_offsets))
    types[graph, *graphs.edge_index] = graphs.edge_types
    return types
