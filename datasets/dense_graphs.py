"""Graphs padded to the size of the largest one, so that every batch has the same shape.

For small graphs this suits a GPU: a batch is an index-select along the first axis, nothing has to
be counted, and sums over neighbours are products and sums over an axis (see
`trainables.models.dense_neighbours`), which are deterministic.

Shapes below: B graphs in a batch, A atoms in the largest graph. Nodes are rows, A per graph.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datasets.graphs import NO_BOND, Graphs, Selection
from datasets.tensors import as_tensor


@dataclass(frozen=True)
class DenseBatch:
    """A batch of graphs, all padded to A nodes.

    Attributes:
        node_features: (B * A, 11) float32; values of padding rows are arbitrary.
        positions: (B * A, 3) float32, Angstrom; values of padding rows are finite.
        there: (B, A) bool, True for nodes, False for padding.
        near: (B, A, A) bool, the adjacency: symmetric, and False on the diagonal.
        edge_types: (B, A, A) int8, see `datasets.graphs.BOND_TYPES`; `NO_BOND` between atoms that
            are not bonded.
        targets: (B,) float32, in the target's unit.
        prior: (B, 3) float32, approximate dipole moments in Debye; None if there are none.
        charges: (B * A, 1) float32, approximate partial charges, in elementary charges, 0 for
            padding; None if there is no prior.
    """

    node_features: Tensor
    positions: Tensor
    there: Tensor
    near: Tensor
    edge_types: Tensor
    targets: Tensor
    prior: Tensor | None = None
    charges: Tensor | None = None

    @property
    def size(self) -> int:
        """Number of graphs in the batch."""
        return len(self.targets)


def near_pairs(positions: Tensor, there: Tensor, cutoff: float) -> Tensor:
    """Finds the pairs of nodes closer than the cutoff: (B, A, A) bool.

    Args:
        positions: (B, A, 3) float32, Angstrom.
        there: (B, A) bool, False for padding.
        cutoff: Largest distance, exclusive, in Angstrom.
    """
    # Summed by axis in the order of `datasets.pairs`, so that both agree on pairs at the cutoff.
    x, y, z = ((axis[:, :, None] - axis[:, None]).square() for axis in positions.unbind(dim=2))
    near = (x + y + z < cutoff**2) & there[:, :, None] & there[:, None]
    near.diagonal(dim1=1, dim2=2).fill_(False)
    return near


class DenseStore:
    """All graphs of a data set, padded, as tensors on one device; batches are cut without
    synchronising with the device.

    Args:
        graphs: The graphs, with bonds as edges.
        device: Device of the tensors and batches.
        cutoff: In Angstrom: edges are all ordered pairs of atoms closer than this; a bonded pair
            has its bond type, others `NO_BOND`. None: edges are the bonds.
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
        self.prior = self.charges = None
        if graphs.prior is not None and graphs.charges is not None:
            self.prior = as_tensor(graphs.prior, device)
            self.charges = as_tensor(_filled_up(graphs.charges[:, None], counts), device)

    def select(self, graphs: Tensor) -> DenseBatch:
        """Cuts a batch.

        Args:
            graphs: (batch,) int64 on the CPU, the numbers of the graphs, in the order of the
                batch.
        """
        return self.batch(Selection.of(graphs, self.device))

    def batch(self, chosen: Selection) -> DenseBatch:
        """Cuts the batch of the selected graphs, in the order of the selection."""
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
            prior=None if self.prior is None else self.prior[graphs],
            charges=None if self.charges is None else self.charges[graphs].flatten(end_dim=1),
        )


def _filled_up(of_nodes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pads node values with zeros: (nodes, W) -> (graphs, A, W).

    Args:
        of_nodes: (nodes, W), all graphs one after the other.
        counts: (graphs,), nodes of each graph.
    """
    filled = np.zeros((len(counts), counts.max(), of_nodes.shape[1]), of_nodes.dtype)
    filled[np.arange(counts.max()) < counts[:, None]] = of_nodes
    return filled


def _types(graphs: Graphs, most: int) -> np.ndarray:
    """Returns bond types as a dense array, (graphs, A, A) int8, `NO_BOND` elsewhere.

    Args:
        graphs: The graphs.
        most: A, the number of nodes of the largest graph.
    """
    types = np.full((len(graphs), most, most), NO_BOND, np.int8)
    graph = np.repeat(np.arange(len(graphs)), np.diff(graphs.edge_offsets))
    types[graph, *graphs.edge_index] = graphs.edge_types
    return types
