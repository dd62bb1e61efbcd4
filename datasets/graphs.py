"""Stores many graphs as flat arrays: a batch is cut by index-select, without a Python collate.

`Graphs` holds NumPy arrays, which all processes of a machine share without a copy through Ray's
object store or memory-mapped files. `GraphStore` holds them as tensors on a device and cuts
batches with edge lists. `datasets.stores` decides whether a fit uses it or the padded store of
`datasets.dense_graphs`.

Conventions: an edge points from ``edge_index[0]`` (source) to ``edge_index[1]`` (target). Every
bond is listed in both directions. Node numbers count from 0 within each graph in `Graphs`, and
over the whole batch in `GraphBatch`.
"""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
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
"""Number of edge types: 0 single, 1 double, 2 triple, 3 aromatic, as in PyG's QM9; 4 no bond."""

NO_BOND = 4
"""Edge type of a pair of atoms that are not bonded."""


@dataclass(frozen=True)
class Graphs:
    """A data set of graphs, concatenated into flat arrays.

    Attributes:
        node_features: (nodes, 11) int8, see `NODE_FEATURES`; dimensionless.
        positions: (nodes, 3) float32, Angstrom.
        node_offsets: (graphs + 1,) int64; graph g has the nodes node_offsets[g] up to, exclusive,
            node_offsets[g + 1].
        edge_index: (2, edges) int32, source and target within the graph, sorted by both.
        edge_types: (edges,) int8, see `BOND_TYPES`.
        edge_offsets: (graphs + 1,) int64; the edges of each graph, like `node_offsets`.
        targets: (graphs,) float64, in the unit of the target.
        rows: (graphs,) int64, ascending, the row of the molecule table that each graph came from.
        prior: (graphs, 3) float32, an approximate dipole moment in Debye, in the frame of the
            positions; None if there is none, see `datasets.prior`.
        charges: (nodes,) float32, approximate partial charges, in elementary charges; None if
            there is no prior.
    """

    node_features: np.ndarray
    positions: np.ndarray
    node_offsets: np.ndarray
    edge_index: np.ndarray
    edge_types: np.ndarray
    edge_offsets: np.ndarray
    targets: np.ndarray
    rows: np.ndarray
    prior: np.ndarray | None = None
    charges: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def save(self, folder: Path) -> None:
        """Writes the arrays atomically into a folder, one ``.npy`` file each, but for a prior,
        which is kept elsewhere.

        An existing folder is left as it is: its name identifies its content, and another process
        may have it open.

        Raises:
            OSError: If the files cannot be written.
        """
        try:
            with written_whole(folder) as beside:
                beside.mkdir()
                for name in SAVED:
                    np.save(beside / f"{name}.npy", getattr(self, name))
        except OSError:
            if not folder.is_dir():
                raise

    @classmethod
    def load(cls, folder: Path) -> "Graphs":
        """Memory-maps the arrays that `save` wrote; pages are read when batches access them."""
        files = {name: folder / f"{name}.npy" for name in SAVED}
        # Plain arrays over the map: pickle, and so Ray, would copy an np.memmap.
        return cls(**{n: np.asarray(np.load(file, mmap_mode="r")) for n, file in files.items()})


SAVED = tuple(field.name for field in fields(Graphs) if field.default is MISSING)
"""Arrays of `Graphs` that are saved: all but the prior."""


@dataclass(frozen=True)
class KeptPairs:
    """What depends on the geometry of a batch alone, copied from an earlier computation.

    Attributes:
        cutoff: Largest distance of a pair, exclusive, in Angstrom.
        offsets: (nodes + 1,) int64; node n is the source of the edges offsets[n] up to, exclusive,
            offsets[n + 1].
        pair: (edges,) int64, the pair that each edge belongs to; pairs are numbered by their edges
            from the lower to the higher node.
        vectors: (pairs, features) float32, the vectors of the pairs at this cutoff, see
            `trainables.models.pair_features`.
        moments: (nodes, 3, features) float32, the sums over the neighbours of a node of the outer
            products of unit vector and vector of the pair.
    """

    cutoff: float
    offsets: Tensor
    pair: Tensor
    vectors: Tensor
    moments: Tensor


@dataclass(frozen=True)
class GraphBatch:
    """A batch of graphs as one disconnected graph, in the form that PyG's layers expect.

    Attributes:
        node_features: (nodes, 11) float32.
        positions: (nodes, 3) float32, Angstrom.
        graph: (nodes,) int64, ascending, the number of each node's graph in the batch.
        edge_index: (2, edges) int64, source and target among the nodes of the batch, sorted by
            both.
        edge_types: (edges,) int64, see `BOND_TYPES`.
        targets: (graphs,) float32, in the unit of the target.
        reverse: (edges,) int64, the index of each edge's reverse edge; None if not computed.
        kept: What depends on the geometry alone; None: to be computed if needed.
        prior: (graphs, 3) float32, approximate dipole moments in Debye; None if there are none.
        charges: (nodes, 1) float32, approximate partial charges, in elementary charges; None if
            there is no prior.
    """

    node_features: Tensor
    positions: Tensor
    graph: Tensor
    edge_index: Tensor
    edge_types: Tensor
    targets: Tensor
    reverse: Tensor | None = None
    kept: KeptPairs | None = None
    prior: Tensor | None = None
    charges: Tensor | None = None

    @property
    def size(self) -> int:
        """Number of graphs in the batch."""
        return len(self.targets)


@dataclass(frozen=True)
class Selection:
    """An ordered selection of graphs in a store.

    Attributes:
        numbers: (graphs,) int64, graph numbers on the CPU, from which the size of a batch is
            computed without synchronising with a GPU.
        there: (graphs,) int64, the same numbers on the store's device, where batches are cut.
    """

    numbers: Tensor
    there: Tensor

    @classmethod
    def of(cls, numbers: Tensor, device: torch.device) -> "Selection":
        """Copies graph numbers to a device, in one transfer for all batches of a pass."""
        return cls(numbers, numbers.to(device))

    def split(self, size: int) -> Iterator["Selection"]:
        """Yields consecutive selections of `size` graphs; the last one may be smaller."""
        for parts in zip(self.numbers.split(size), self.there.split(size), strict=True):
            yield Selection(*parts)


class GraphStore:
    """All graphs of a data set as tensors on one device, from which batches with edge lists are
    cut.

    On the CPU the tensors share the memory of the arrays. On a GPU, batches are cut without
    synchronisation.

    Args:
        graphs: The graphs; their edges are those of the batches, unless `cutoff` is given.
        device: Device of the tensors and batches.
        cutoff: In Angstrom, on the CPU only: the edges of a batch are all ordered pairs of atoms
            closer than this; a bonded pair has its bond type, others `NO_BOND`. The pairs are
            found anew for each batch, so that they take no memory in the store;
            `trainables.models.kept_pairs` keeps them.
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
        self.prior = self.charges = None
        if graphs.prior is not None and graphs.charges is not None:
            self.prior = as_tensor(graphs.prior, device)
            self.charges = as_tensor(graphs.charges, device)
        self.nodes = _Owned(graphs.node_offsets, device)
        self.edges = _Owned(graphs.edge_offsets, device)

    def select(self, graphs: Tensor) -> GraphBatch:
        """Cuts a batch.

        Args:
            graphs: (batch,) int64 on the CPU, the numbers of the graphs, in the order of the
                batch.
        """
        return self.batch(Selection.of(graphs, self.device))

    def batch(self, chosen: Selection) -> GraphBatch:
        """Cuts the batch of the selected graphs, in the order of the selection."""
        nodes, graph_of_node, node_starts = self.nodes.by(chosen)
        edges, graph_of_edge, _ = self.edges.by(chosen)
        batch = GraphBatch(
            node_features=self.node_features[nodes].float(),
            positions=self.positions[nodes],
            graph=graph_of_node,
            edge_index=self.edge_index[:, edges].long() + node_starts[graph_of_edge],
            edge_types=self.edge_types[edges].long(),
            targets=self.targets[chosen.there].float(),
            prior=None if self.prior is None else self.prior[chosen.there],
            charges=None if self.charges is None else self.charges[nodes, None],
        )
        return batch if self.cutoff is None else _with_pairs(batch, node_starts, self.cutoff)


class _Owned:
    """Index of the elements (nodes or edges) that belong to each graph of a store.

    Args:
        offsets: (graphs + 1,) int64; graph g has the elements offsets[g] up to, exclusive,
            offsets[g + 1].
        device: The store's device.
    """

    def __init__(self, offsets: np.ndarray, device: torch.device) -> None:
        self.offsets = as_tensor(offsets, device)
        self.counts = torch.from_numpy(np.diff(offsets))  # on the CPU

    def by(self, chosen: Selection) -> tuple[Tensor, Tensor, Tensor]:
        """Finds the elements of the selected graphs.

        Returns:
            Three int64 tensors: (elements,) indices in the store; (elements,) position in the
            selection of each element's graph; (batch,) index in the batch of each graph's first
            element.
        """
        first = self.offsets[chosen.there]
        counts = self.offsets[chosen.there + 1] - first
        starts = counts.cumsum(dim=0) - counts
        total = int(self.counts[chosen.numbers].sum(dim=0))
        graph = torch.repeat_interleave(counts, output_size=total)
        places = torch.arange(total, device=graph.device) + (first - starts)[graph]
        return places, graph, starts


def _with_pairs(batch: GraphBatch, node_starts: Tensor, cutoff: float) -> GraphBatch:
    """Replaces the edges of a batch on the CPU by all ordered pairs of atoms within the cutoff.

    Args:
        batch: A batch with bonds as edges.
        node_starts: (graphs,) int64, the first node of each graph.
        cutoff: Largest distance, exclusive, in Angstrom.

    Returns:
        The batch with edges sorted by source and target, and with `reverse`.
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
