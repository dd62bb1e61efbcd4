"""Graphs whose edges are all pairs of atoms within a cutoff, found once for all.

On a GPU, finding the pairs of a batch would make the processor wait for their number; the cutoff
of a fit is fixed, so they are found on the CPU before it begins.
"""

from dataclasses import replace

import numpy as np

from datasets.graphs import NO_BOND, Graphs
from datasets.pairs import find_pairs

TOGETHER = 4096
"""Graphs whose pairs are found at a time: while they are, a pair takes four times the memory."""


def with_pairs(graphs: Graphs, cutoff: float) -> Graphs:
    """Takes all ordered pairs of atoms closer than the cutoff as edges.

    Args:
        graphs: With bonds as edges.
        cutoff: Angstrom.

    Returns:
        The graphs with edges sorted by source and target, those that are bonds with their type,
        the others with `NO_BOND`; node numbers as uint8 where no graph has more.
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
    """Source and target within the graph (2, pairs), type (pairs,), pairs a graph (graphs,)."""
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
