"""Keeps what depends on the geometry of molecules alone from one batch to the next, on a CPU.

The pairs of atoms within a cutoff, their vectors and their moments are the same whenever a
molecule is in a batch. They are computed once for all molecules; a batch copies those of its own.
"""

import numpy as np
import torch
from torch import Tensor

from datasets.graphs import GraphBatch, Graphs, GraphStore, KeptPairs, Selection
from datasets.pairs import count_pairs
from datasets.ranges import Ranges
from trainables.models.neighbours import Neighbours
from trainables.models.pair_features import PAIR_FEATURES, PairFeatures

MOST_BYTES = 2**29
"""Memory that kept pairs may take in a process, in bytes: as much as the imports of a trial take.
It is enough for 28,000 molecules of 18 atoms at the default cutoff."""

PAIR_BYTES = 4 * PAIR_FEATURES + 2 * (4 * 4 + 1)
"""Memory of a pair: its vector, and for each of its two edges four numbers and a type."""

NODE_BYTES = 4 * 3 * PAIR_FEATURES + 8
"""Memory of a node: its moments, and the number of its first edge."""

TOGETHER = 64
"""Number of molecules whose pairs are computed at a time; intermediate results fit in the
caches."""


def keeping_store(graphs: Graphs, cutoff: float) -> GraphStore:
    """Opens a store on the CPU that keeps pairs, unless they would take too much memory.

    Args:
        graphs: Graphs with bonds as edges.
        cutoff: Largest distance of a pair, exclusive, in Angstrom.

    Returns:
        A `KeptStore`, or a `GraphStore` that finds the pairs anew for each batch.
    """
    counts = count_pairs(graphs.positions, graphs.node_offsets, np.float32(cutoff**2))
    need = PAIR_BYTES * counts.sum() + NODE_BYTES * len(graphs.positions)
    if need > MOST_BYTES:
        return GraphStore(graphs, torch.device("cpu"), cutoff)
    return KeptStore(graphs, cutoff, counts)


class KeptStore(GraphStore):
    """A `GraphStore` on the CPU whose batches have `KeptPairs`.

    Nodes, edges and pairs are numbered over all graphs.

    Args:
        graphs: Graphs with bonds as edges.
        cutoff: Largest distance of a pair, exclusive, in Angstrom.
        counts: Number of pairs of each graph, (graphs,).
    """

    def __init__(self, graphs: Graphs, cutoff: float, counts: np.ndarray) -> None:
        super().__init__(graphs, torch.device("cpu"), cutoff)
        self.graphs = graphs
        self.features = PairFeatures(cutoff)
        self.pair_offsets = np.append(0, counts.cumsum())
        nodes, pairs = len(graphs.positions), self.pair_offsets[-1]
        self.first_edge = np.empty(nodes, np.int64)
        self.moments = np.empty((nodes, 3 * PAIR_FEATURES), np.float32)
        self.vectors = np.empty((pairs, PAIR_FEATURES), np.float32)
        self.source, self.target, self.reverse, self.pair = np.empty((4, 2 * pairs), np.int32)
        self.types = np.empty(2 * pairs, np.int8)
        for part in torch.arange(len(graphs)).split(TOGETHER):
            self._keep(part)

    def _keep(self, part: Tensor) -> None:
        """Computes the pairs of consecutive graphs."""
        near = Neighbours.of(super().batch(Selection(part, part)))
        vectors = self.features(near)
        ends = [int(part[0]), int(part[-1]) + 1]
        nodes = slice(*self.graphs.node_offsets[ends])
        pairs = slice(*self.pair_offsets[ends])
        edges = slice(2 * pairs.start, 2 * pairs.stop)
        self.first_edge[nodes] = near.offsets[:-1].numpy() + edges.start
        self.moments[nodes] = near.moments(vectors).flatten(start_dim=1).numpy()
        self.vectors[pairs] = vectors.numpy()
        self.source[edges], self.target[edges] = near.batch.edge_index.numpy() + nodes.start
        self.reverse[edges] = near.reverse.numpy() + edges.start
        self.pair[edges] = near.pair.numpy() + pairs.start
        self.types[edges] = near.batch.edge_types.numpy()

    def batch(self, chosen: Selection) -> GraphBatch:
        """Cuts the batch of the selected graphs, in the order of the selection."""
        numbers, charges = chosen.numbers.numpy(), self.graphs.charges
        nodes = Ranges.of(self.graphs.node_offsets, numbers)
        pairs = Ranges.of(self.pair_offsets, numbers)
        edges = pairs.times(2)
        first_edge = nodes.numbers(self.first_edge, edges.moved)
        kept = KeptPairs(
            cutoff=self.features.cutoff,
            offsets=torch.cat([first_edge, first_edge.new_tensor([edges.size])]),
            pair=edges.numbers(self.pair, pairs.moved),
            vectors=pairs.rows(self.vectors),
            moments=nodes.rows(self.moments).unflatten(1, (3, PAIR_FEATURES)),
        )
        ends = [edges.numbers(each, nodes.moved) for each in (self.source, self.target)]
        return GraphBatch(
            node_features=nodes.rows(self.graphs.node_features),
            positions=nodes.rows(self.graphs.positions),
            graph=nodes.graph,
            edge_index=torch.stack(ends),
            edge_types=edges.numbers(self.types, np.zeros_like(edges.moved)),
            targets=self.targets[chosen.numbers].float(),
            reverse=edges.numbers(self.reverse, edges.moved),
            kept=kept,
            prior=None if self.prior is None else self.prior[chosen.numbers],
            charges=None if charges is None else nodes.rows(charges[:, None]),
        )
