"""Which store a fit cuts its batches from.

On the CPU edges are listed and pairs found in each batch. On a GPU no step may wait for a number:
small graphs are filled up to the largest; of larger ones, where most of that would be empty, the
pairs are found before the fit begins.
"""

import numpy as np
import torch

from datasets.dense_graphs import DenseBatch, DenseStore
from datasets.graphs import GraphBatch, Graphs, GraphStore
from datasets.pair_graphs import with_pairs

Batch = GraphBatch | DenseBatch
Store = GraphStore | DenseStore

DENSE_ATOMS = 32
"""Atoms of the largest molecule that is small. QM9's has 29."""


def store_of(graphs: Graphs, device: torch.device, cutoff: float | None) -> Store:
    """Opens the store for a device.

    Args:
        graphs: With bonds as edges.
        device: Where the batches are cut and live.
        cutoff: Angstrom: the edges are all pairs of atoms closer than it. None: the bonds.
    """
    if device.type != "cpu" and np.diff(graphs.node_offsets).max() <= DENSE_ATOMS:
        return DenseStore(graphs, device, cutoff)
    return listed_store(graphs, device, cutoff)


def listed_store(graphs: Graphs, device: torch.device, cutoff: float | None) -> GraphStore:
    """Opens the store for large molecules, as `store_of` does."""
    if cutoff is None or device.type == "cpu":
        return GraphStore(graphs, device, cutoff)
    return GraphStore(with_pairs(graphs, cutoff), device)
