"""Chooses the store from which a fit cuts its batches.

On the CPU, edges are listed and pairs are found anew in each batch, unless
`trainables.models.kept_pairs` keeps them. On a GPU, no step may wait for
a number from the device: small graphs are padded to the largest one; for larger ones, which would
be mostly padding, the pairs are found before the fit begins.
"""

import numpy as np
import torch

from datasets.dense_graphs import DenseBatch, DenseStore
from datasets.graphs import GraphBatch, Graphs, GraphStore
from datasets.pair_graphs import with_pairs

Batch = GraphBatch | DenseBatch
Store = GraphStore | DenseStore

DENSE_ATOMS = 32
"""Largest number of atoms of a molecule for which a data set is padded; QM9's largest has 29."""


def store_of(graphs: Graphs, device: torch.device, cutoff: float | None) -> Store:
    """Opens the store that suits a device and a data set.

    Args:
        graphs: Graphs with bonds as edges.
        device: Device on which batches are cut.
        cutoff: In Angstrom: edges are all pairs of atoms closer than this. None: edges are the
            bonds.
    """
    if device.type != "cpu" and np.diff(graphs.node_offsets).max() <= DENSE_ATOMS:
        return DenseStore(graphs, device, cutoff)
    return listed_store(graphs, device, cutoff)


def listed_store(graphs: Graphs, device: torch.device, cutoff: float | None) -> GraphStore:
    """Opens a store with edge lists, which `store_of` uses on the CPU and for large molecules.

    Args:
        graphs: Graphs with bonds as edges.
        device: Device on which batches are cut.
        cutoff: In Angstrom: edges are all pairs of atoms closer than this. None: edges are the
            bonds.
    """
    if cutoff is None or device.type == "cpu":
        return GraphStore(graphs, device, cutoff)
    return GraphStore(with_pairs(graphs, cutoff), device)
