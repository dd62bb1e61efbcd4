"""Degenerate molecules: a single atom, and one with an atom without neighbours."""

from dataclasses import replace

import numpy as np

from datasets.graphs import Graphs

LONE = Graphs(
    node_features=np.array([[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]], np.int8),
    positions=np.array([[1, 2, 3]], np.float32),
    node_offsets=np.array([0, 1]),
    edge_index=np.empty((2, 0), np.int32),
    edge_types=np.empty(0, np.int8),
    edge_offsets=np.array([0, 0]),
    targets=np.array([0.5]),
    rows=np.array([1000]),
)
"""A molecule of a single hydrogen atom."""

APART = Graphs(
    node_features=np.array([[0, 1, 0, 0, 0, 6, 0, 0, 0, 1, 0]] * 3, np.int8),
    positions=np.array([[0, 0, 0], [1.5, 0, 0], [40, 0, 0]], np.float32),
    node_offsets=np.array([0, 3]),
    edge_index=np.array([[0, 1], [1, 0]], np.int32),
    edge_types=np.array([1, 1], np.int8),
    edge_offsets=np.array([0, 2]),
    targets=np.array([-0.5]),
    rows=np.array([1001]),
)
"""A molecule of three carbon atoms, of which one is 38.5 Angstrom or more away from the others."""


def with_odd_ones(graphs: Graphs) -> Graphs:
    """Appends to graphs a single atom and a molecule with an atom without neighbours; with a
    prior if the graphs have one."""
    parts = (graphs, LONE, APART)
    columns = ["edge_index", "edge_types", "targets", "rows"]
    rows = ["node_features", "positions"]
    if graphs.prior is not None:
        parts = (graphs, *(_with_prior(odd) for odd in parts[1:]))
        columns.append("charges")
        rows.append("prior")
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in columns
    }
    joined |= {name: np.concatenate([getattr(part, name) for part in parts]) for name in rows}
    for name in ("node_offsets", "edge_offsets"):
        counts = np.concatenate([np.diff(getattr(part, name)) for part in parts])
        joined[name] = np.append(0, counts.cumsum())
    return Graphs(**joined)


def _with_prior(odd: Graphs) -> Graphs:
    prior = np.array([[0.1, -0.2, 0.3]], np.float32)
    return replace(odd, prior=prior, charges=np.linspace(-0.1, 0.1, len(odd.positions), dtype="f"))
