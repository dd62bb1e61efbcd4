"""Numba loops that find the pairs of atoms within a cutoff, and molecules with atoms too close.

They are compiled without fast math, so that they agree with the tensors of
`datasets.dense_graphs` on pairs that are exactly at the cutoff.
"""

import numpy as np

from datasets.compiled import compiled


@compiled()
def _squared_distance(positions, i, j):
    """Returns the square of the distance of two atoms, in square Angstrom."""
    x = positions[i, 0] - positions[j, 0]
    y = positions[i, 1] - positions[j, 1]
    z = positions[i, 2] - positions[j, 2]
    return x * x + y * y + z * z


@compiled()
def find_pairs(positions, starts, edge_index, edge_types, no_bond, cutoff_squared):
    """Finds all ordered pairs of atoms of a graph within a cutoff, sorted by source and target.

    Args:
        positions: (nodes, 3) float32, Angstrom.
        starts: (graphs + 1,) int64; graph g has the nodes starts[g] up to, exclusive,
            starts[g + 1].
        edge_index: (2, bonds) int64, source and target of the bonds, sorted by source.
        edge_types: (bonds,) int64, types of the bonds.
        no_bond: Edge type of pairs that are not bonded.
        cutoff_squared: float32, square of the cutoff, in square Angstrom.

    Returns:
        Source and target (2, pairs), edge type (pairs,) and index of the reverse pair (pairs,),
        all int64.
    """
    most = 0
    largest = 0
    for g in range(len(starts) - 1):
        nodes = starts[g + 1] - starts[g]
        most += nodes * (nodes - 1)
        largest = max(largest, nodes)
    ends = np.empty((2, most), np.int64)
    types = np.empty(most, np.int64)
    reverse = np.empty(most, np.int64)
    kinds = np.empty((largest, largest), np.int64)
    numbers = np.empty((largest, largest), np.int64)
    found = 0
    bond = 0
    for g in range(len(starts) - 1):
        first, last = starts[g], starts[g + 1]
        kinds[:] = no_bond
        while bond < len(edge_types) and edge_index[0, bond] < last:
            i, j = edge_index[0, bond] - first, edge_index[1, bond] - first
            kinds[i, j] = edge_types[bond]
            bond += 1
        begun = found
        for i in range(first, last):
            for j in range(first, last):
                if i != j and _squared_distance(positions, i, j) < cutoff_squared:
                    ends[0, found], ends[1, found] = i, j
                    types[found] = kinds[i - first, j - first]
                    numbers[i - first, j - first] = found
                    found += 1
        for e in range(begun, found):
            reverse[e] = numbers[ends[1, e] - first, ends[0, e] - first]
    return ends[:, :found], types[:found], reverse[:found]


@compiled()
def count_pairs(positions, starts, cutoff_squared):
    """Counts the unordered pairs of atoms within a cutoff, half of those that `find_pairs` lists.

    Args:
        positions: (nodes, 3) float32, Angstrom.
        starts: (graphs + 1,) int64; graph g has the nodes starts[g] up to, exclusive,
            starts[g + 1].
        cutoff_squared: float32, square of the cutoff, in square Angstrom.

    Returns:
        (graphs,) int64.
    """
    counts = np.zeros(len(starts) - 1, np.int64)
    for g in range(len(starts) - 1):
        for i in range(starts[g], starts[g + 1]):
            for j in range(starts[g], i):
                if _squared_distance(positions, i, j) < cutoff_squared:
                    counts[g] += 1
    return counts


@compiled()
def find_collisions(positions, starts, nearest_squared):
    """Finds the graphs in which two nodes are closer than a minimum distance.

    Args:
        positions: (nodes, 3) float32, Angstrom.
        starts: (graphs + 1,) int64; graph g has the nodes starts[g] up to, exclusive,
            starts[g + 1].
        nearest_squared: float32, square of the minimum distance, in square Angstrom.

    Returns:
        (graphs,) bool, True for graphs with such a pair.
    """
    found = np.zeros(len(starts) - 1, np.bool_)
    for g in range(len(starts) - 1):
        for i in range(starts[g], starts[g + 1]):
            for j in range(starts[g], i):
                if _squared_distance(positions, i, j) < nearest_squared:
                    found[g] = True
                    break
            if found[g]:
                break
    return found
