"""One flat, in-memory store of many graphs: a batch is an index-select, never a Python collate.

`Graphs` holds NumPy arrays, which Ray's object store and memory-mapped files give to every
process of a machine without a copy. `GraphStore` holds the same arrays as tensors on a device and
cuts batches out of them.

Conventions: an edge points from ``edge_index[0]`` (source) to ``edge_index[1]`` (target); every
bond is there in both directions; node numbers in `Graphs` count from 0 within each graph, in a
`GraphBatch` over the whole batch.
"""

import os
import shutil
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets.pairs import find_pairs
from datasets.tensors import as_tensor

NODE_FEATURES = 11
"""Width of the node features: one-hot H, C, N, O, F; atomic number; aromatic; sp; sp2; sp3;
number of hydrogens. The features of PyG's QM9."""

BOND_TYPES = 5
"""Edge types: 0 single, 1 double, 2 triple, 3 aromatic, as in PyG's QM9; 4 no bond."""

NO_BOND = 4


@dataclass(frozen=True)
class Graphs:
    """Many graphs, one after the other.

    Attributes:
        node_features: (nodes, 11) int8, see `NODE_FEATURES`; dimensionless.
        positions: (nodes, 3) float32, Angstrom.
        node_offsets: (graphs + 1,) int64: graph g owns nodes node_offsets[g] to [g + 1].
        edge_index: (2, edges) int32, source and target within the graph; sorted by both.
        edge_types: (edges,) int8, see `BOND_TYPES`.
        edge_offsets: (graphs + 1,) int64.
        targets: (graphs,) float64, in the unit of the target.
        rows: (graphs,) int64, ascending: the row of the molecule table each graph came from.
    """

    node_features: np.ndarray
    positions: np.ndarray
    node_offsets: np.ndarray
    edge_index: np.ndarray
    edge_types: np.ndarray
    edge_offsets: np.ndarray
    targets: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def save(self, folder: Path) -> None:
        """Writes one ``.npy`` file an array, beside and then renamed: whole or absent.

        A folder that is there stays as it is: its name stands for its content, and another process
        may have it open.
        """
        beside = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for field in fields(self):
            np.save(beside / f"{field.name}.npy", getattr(self, field.name))
        try:
            beside.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            shutil.rmtree(beside)

    @classmethod
    def load(cls, folder: Path) -> "Graphs":
        """Memory-maps what `save` wrote; pages are read as batches touch them."""
        files = {field.name: folder / f"{field.name}.npy" for field in fields(cls)}
        # As plain arrays over the map: pickle would copy an np.memmap, and Ray with it.
        return cls(**{n: np.asarray(np.load(file, mmap_mode="r")) for n, file in files.items()})


@dataclass(frozen=True)
class GraphBatch:
    """Some graphs as one disconnected graph, in the form that PyG's layers take.

    Attributes:
        node_features: (nodes, 11) float32.
        positions: (nodes, 3) float32, Angstrom.
        graph: (nodes,) int64, ascending: the graph of each node.
        edge_index: (2, edges) int64, source and target among the nodes of the batch; sorted by
            both.
        edge_types: (edges,) int64.
        targets: (graphs,) float32.
        reverse: (edges,) int64, the number of each edge's way back; None where the edges are the
            bonds.
    """

    node_features: Tensor
    positions: Tensor
    graph: Tensor
    edge_index: Tensor
    edge_types: Tensor
    targets: Tensor
    reverse: Tensor | None = None

    @property
    def size(self) -> int:
        """Number of graphs."""
        return len(self.targets)


class GraphStore:
    """`Graphs` as tensors on one device, from which `select` cuts batches.

    On the CPU the tensors share the memory of the arrays.

    Args:
        graphs: With bonds as edges.
        device: Where the batches are cut and live.
        cutoff: Angstrom. Given, the edges of a batch are all ordered pairs of atoms closer than
            it, found anew in each batch: nothing is kept for them, whatever the number of
            graphs. A pair that is a bond has its type, the others `NO_BOND`. None: the edges are
            the bonds.
    """

    def __init__(self, graphs: Graphs, device: torch.device, cutoff: float | None = None) -> None:
        self.cutoff = cutoff
        self.node_features = as_tensor(graphs.node_features, device)
        self.positions = as_tensor(graphs.positions, device)
        self.node_offsets = as_tensor(graphs.node_offsets, device)
        self.edge_index = as_tensor(graphs.edge_index, device)
        self.edge_types = as_tensor(graphs.edge_types, device)
        self.edge_offsets = as_tensor(graphs.edge_offsets, device)
        self.targets = as_tensor(graphs.targets, device)

    def select(self, graphs: Tensor) -> GraphBatch:
        """The batch of these graphs, in this order.

        Args:
            graphs: Graph numbers, shape (batch,), int64, on the store's device.
        """
        nodes, graph_of_node, node_starts = _ranges(self.node_offsets, graphs)
        edges, graph_of_edge, _ = _ranges(self.edge_offsets, graphs)
        batch = GraphBatch(
            node_features=self.node_features[nodes].float(),
            positions=self.positions[nodes],
            graph=graph_of_node,
            edge_index=self.edge_index[:, edges].long() + node_starts[graph_of_edge],
            edge_types=self.edge_types[edges].long(),
            targets=self.targets[graphs].float(),
        )
        return batch if self.cutoff is None else with_pairs(batch, node_starts, self.cutoff)


def with_pairs(batch: GraphBatch, node_starts: Tensor, cutoff: float) -> GraphBatch:
    """The batch with all ordered pairs within the cutoff as edges, sorted by source and target.

    Args:
        batch: With bonds as edges.
        node_starts: (graphs,) int64, the first node of each graph.
        cutoff: Angstrom.
    """
    on_cpu = batch.positions.device.type == "cpu"
    return (pairs_by_loops if on_cpu else pairs_by_tensors)(batch, node_starts, cutoff)


def pairs_by_loops(batch: GraphBatch, node_starts: Tensor, cutoff: float) -> GraphBatch:
    """As `with_pairs`, on the CPU."""
    edge_index, edge_types, reverse = find_pairs(
        batch.positions.numpy(),
        np.append(node_starts.numpy(), len(batch.positions)),
        batch.edge_index.numpy(),
        batch.edge_types.numpy(),
        NO_BOND,
        np.float32(cutoff**2),
    )
    return replace(
        batch,
        edge_index=torch.from_numpy(edge_index),
        edge_types=torch.from_numpy(edge_types),
        reverse=torch.from_numpy(reverse),
    )


def pairs_by_tensors(batch: GraphBatch, node_starts: Tensor, cutoff: float) -> GraphBatch:
    """As `with_pairs`, on any device, from dense distance matrices."""
    place = torch.arange(len(batch.graph), device=batch.graph.device) - node_starts[batch.graph]
    most = int(place.max()) + 1
    # Atoms that are not there lie at infinity, so they are near to nothing, nor to each other.
    positions = batch.positions.new_full((batch.size, most, 3), torch.inf)
    positions[batch.graph, place] = batch.positions
    # By axis: a sum over three neighbouring numbers is slow.
    x, y, z = ((axis[:, :, None] - axis[:, None]).square() for axis in positions.unbind(dim=2))
    near = x + y + z < cutoff**2  # (graphs, most, most)
    near.diagonal(dim1=1, dim2=2).fill_(False)

    types = batch.edge_types.new_full(near.shape, NO_BOND)
    begin, end = batch.edge_index
    types[batch.graph[begin], place[begin], place[end]] = batch.edge_types

    numbers = near.flatten().cumsum(dim=0).view_as(near) - 1  # of the edges, where there are any
    graph, source, target = near.nonzero(as_tuple=True)
    return replace(
        batch,
        edge_index=torch.stack([source, target]) + node_starts[graph],
        edge_types=types[graph, source, target],
        reverse=numbers[graph, target, source],
    )


def _ranges(offsets: Tensor, graphs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the elements of some graphs lie: (elements,), their graph, and its first element.

    For graphs that own offsets[g] to offsets[g + 1] in the store: the elements' places in the
    store, the place in `graphs` of each one's graph, and, shape (batch,), where each graph's
    elements begin in the batch.
    """
    first = offsets[graphs]
    counts = offsets[graphs + 1] - first
    starts = counts.cumsum(dim=0) - counts
    graph = torch.repeat_interleave(counts)
    places = torch.arange(len(graph), device=graph.device) + (first - starts)[graph]
    return places, graph, starts
