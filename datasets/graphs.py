"""One flat, in-memory store of many graphs: a batch is an index-select, never a Python collate.

`Graphs` holds NumPy arrays, which Ray's object store and memory-mapped files give to every
process of a machine without a copy. `GraphStore` holds the same arrays as tensors on a device and
cuts batches out of them, in which edges are listed; which store a fit takes, this one or that of
`datasets.dense_graphs`, is said in `datasets.stores`.

Conventions: an edge points from ``edge_index[0]`` (source) to ``edge_index[1]`` (target); every
bond is there in both directions; node numbers in `Graphs` count from 0 within each graph, in a
`GraphBatch` over the whole batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets.files import written_whole
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
        """Writes a folder of one ``.npy`` file an array, whole or not at all.

        A folder that is there stays as it is: its name stands for its content, and another process
        may have it open.
        """
        try:
            with written_whole(folder) as beside:
                beside.mkdir()
                for field in fields(self):
                    np.save(beside / f"{field.name}.npy", getattr(self, field.name))
        except OSError:
            if not folder.is_dir():
                raise

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
        reverse: (edges,) int64, the number of each edge's way back; None where nobody has looked.
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


@dataclass(frozen=True)
class Selection:
    """Some graphs of a store, in an order.

    Attributes:
        numbers: (graphs,) int64, on the CPU, which knows by them how large a batch is and so need
            not ask a GPU.
        there: The same numbers on the store's device, where batches are cut.
    """

    numbers: Tensor
    there: Tensor

    @classmethod
    def of(cls, numbers: Tensor, device: torch.device) -> "Selection":
        """Brings graph numbers to a device, in one transfer for all batches of a pass."""
        return cls(numbers, numbers.to(device))

    def split(self, size: int) -> Iterator["Selection"]:
        """So many graphs after the other, the last time perhaps fewer."""
        for parts in zip(self.numbers.split(size), self.there.split(size), strict=True):
            yield Selection(*parts)


class GraphStore:
    """`Graphs` as tensors on one device, from which batches with listed edges are cut.

    On the CPU the tensors share the memory of the arrays. On a GPU, cutting a batch waits for
    nothing.

    Args:
        graphs: Their edges are those of the batches, unless there is a cutoff.
        device: Where the batches are cut and live.
        cutoff: Angstrom, on the CPU only: the edges of a batch are all ordered pairs of atoms
            closer than it, found anew in each batch, so that nothing is kept for them, whatever
            the number of graphs. A pair that is a bond has its type, the others `NO_BOND`.
    """

    def __init__(self, graphs: Graphs, device: torch.device, cutoff: float | None = None) -> None:
        assert cutoff is None or device.type == "cpu"
        self.device = device
        self.cutoff = cutoff
        self.node_features = as_tensor(graphs.node_features, device)
        self.positions = as_tensor(graphs.positions, device)
        self.edge_index = as_tensor(graphs.edge_index, device)
        self.edge_types = as_tensor(graphs.edge_types, device)
        self.targets = as_tensor(graphs.targets, device)
        self.nodes = _Owned(graphs.node_offsets, device)
        self.edges = _Owned(graphs.edge_offsets, device)

    def select(self, graphs: Tensor) -> GraphBatch:
        """Cuts the batch of these graphs, in this order: their numbers, (batch,) int64, on the
        CPU."""
        return self.batch(Selection.of(graphs, self.device))

    def batch(self, chosen: Selection) -> GraphBatch:
        """Cuts the batch of the chosen graphs, in their order."""
        nodes, graph_of_node, node_starts = self.nodes.by(chosen)
        edges, graph_of_edge, _ = self.edges.by(chosen)
        batch = GraphBatch(
            node_features=self.node_features[nodes].float(),
            positions=self.positions[nodes],
            graph=graph_of_node,
            edge_index=self.edge_index[:, edges].long() + node_starts[graph_of_edge],
            edge_types=self.edge_types[edges].long(),
            targets=self.targets[chosen.there].float(),
        )
        return batch if self.cutoff is None else _with_pairs(batch, node_starts, self.cutoff)


class _Owned:
    """The elements, such as nodes, that graphs own in a store.

    Args:
        offsets: (graphs + 1,) int64: graph g owns the elements offsets[g] to offsets[g + 1].
        device: The store's.
    """

    def __init__(self, offsets: np.ndarray, device: torch.device) -> None:
        self.offsets = as_tensor(offsets, device)
        self.counts = torch.from_numpy(np.diff(offsets))  # on the CPU

    def by(self, chosen: Selection) -> tuple[Tensor, Tensor, Tensor]:
        """Finds the elements of the chosen graphs.

        Returns:
            (elements,) their places in the store; (elements,) which of the chosen graphs owns
            each; (batch,) where the elements of each graph begin in the batch.
        """
        first = self.offsets[chosen.there]
        counts = self.offsets[chosen.there + 1] - first
        starts = counts.cumsum(dim=0) - counts
        total = int(self.counts[chosen.numbers].sum(dim=0))
        graph = torch.repeat_interleave(counts, output_size=total)
        places = torch.arange(total, device=graph.device) + (first - starts)[graph]
        return places, graph, starts


def _with_pairs(batch: GraphBatch, node_starts: Tensor, cutoff: float) -> GraphBatch:
    """Takes all ordered pairs within the cutoff as edges, sorted by source and target; on the CPU.

    Args:
        batch: With bonds as edges.
        node_starts: (graphs,) int64, the first node of each graph.
        cutoff: Angstrom.
    """
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
