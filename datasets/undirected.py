"""Edges of undirected graphs."""

import numpy as np


def both_ways(edges: np.ndarray) -> np.ndarray:
    """Returns each undirected edge in both directions, once, without loops.

    Args:
        edges: (2, edges) integers, in either direction or both, in any order.

    Returns:
        (2, E) int64, sorted by source, then by target.
    """
    edges = edges.astype(np.int64)
    edges = edges[:, edges[0] != edges[1]]
    return np.unique(np.hstack([edges, edges[::-1]]), axis=1)
