"""Precomputes graphs whose edges are all pairs of atoms within a cutoff.

On a GPU, finding the pairs of each batch would make the CPU wait for their number. As the cutoff
of a fit is fixed, they are found on the CPU before it begins.
"""

from dataclasses import replace

import numpy as np

from datasets.graphs import NO_BOND, Graphs
from datasets.pairs import find_pairs

TOGETHER = 4096
"""Number of graphs whose pairs are found at a time, which bounds memory: while it is being found,
a pair takes four times the memory."""


def with_pairs(graphs: Graphs, cutoff: float) -> Graphs:
    """Replaces the edges of graphs by all ordered pairs of atoms closer than a cutoff.

    Args:
        graphs: Graphs with bonds as edges.
        cutoff: Largest distance, exclusive, in Angstrom.

    Returns:
        The graphs with edges sorted by source and target. Bonded pairs have their bond type, the
        others `NO_BOND`. Node numbers are uint8 if those of all graphs fit.
    """
    firsts = range(0, len(graphs), TOGETHER)
    parts = [_pairs(graphs, slice(first, first + TOGETHER), cutoff) for first in firsts]
    found = zip(*parts, strict=True)
    edge_index, edge_types, counts = (np.concatenate(each, axis=-1) for each in found)
    offsets = np.append(0, counts.cumsum())
    return replace(graphs, edge_index=edge_index, edge_types=edge_types, edge_offsets=offsets)


def _pairs(
    graphs: Graphs, some: slice, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the pairs of a slice of graphs.

    Returns:
        Source and target within the graph (2, pairs), type (pairs,) int8, and number of pairs of
        each graph (graphs,).
    """
    offsets = graphs.node_offsets[some.start : some.stop + 1]
    edges = slice(*graphs.edge_offsets[[some.start, min(some.stop, len(graphs))]])
    bonds = np.diff(graphs.edge_offsets[some.start : some.stop + 1])
    starts = offsets - offsets[0]
    ends, types, _ = find_pairs(
        np.array(graphs.positions[offsets[0] : offsets[-1]]),
        starts,
        graphs.edge_index[:, edges] + np.repeat(starts[:-1], bonds),
        graphs.edge_types[edges].astype(np.int64),
        NO_BOND,
        np.float32(cutoff**2),
    )
    graph = np.searchsorted(starts, ends[0], side="right") - 1
    small = np.diff(starts).max() <= np.iinfo(np.uint8).max
    within = (ends - starts[graph]).astype(np.uint8 if small else np.int32)
    return within, types.astype(np.int8), np.bincount(graph, minlength=len(bonds))
