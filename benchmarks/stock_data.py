"""Molecules in PyG's own form, and the transforms that give their edges a geometry.

Shapes below: nodes N, edges E.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform
from torch_geometric.utils import to_dense_adj

from datasets.graphs import NO_BOND, Graphs

RADIAL = 20
"""Gaussians over 0 to the cutoff."""

HYBRIDIZATION = slice(6, 10)
"""Aromatic, sp, sp2 and sp3 among the node features."""


def as_data(graphs: Graphs, places: Iterable[int] | None = None) -> list[Data]:
    """Graphs as PyG's objects, in the form of its QM9.

    Args:
        graphs: The flat store.
        places: Which of them, in this order; None: all.

    Returns:
        One a graph: ``x`` (N, 11) float32, ``pos`` (N, 3) float32 in Angstrom, ``edge_index``
        (2, E) int64, ``edge_attr`` (E, 4) float32, the one-hot bond type, zero where there is no
        bond, ``y`` (1,) float32 in the unit of the target.
    """
    return [
        _as_data(graphs, place) for place in (range(len(graphs)) if places is None else places)
    ]


def _as_data(graphs: Graphs, place: int) -> Data:
    """Makes PyG's object of one graph."""
    nodes = slice(graphs.node_offsets[place], graphs.node_offsets[place + 1])
    edges = slice(graphs.edge_offsets[place], graphs.edge_offsets[place + 1])
    one_hot = np.eye(NO_BOND + 1, NO_BOND, dtype=np.float32)
    return Data(
        x=torch.from_numpy(graphs.node_features[nodes].astype(np.float32)),
        pos=torch.from_numpy(graphs.positions[nodes].copy()),
        edge_index=torch.from_numpy(graphs.edge_index[:, edges].astype(np.int64)),
        edge_attr=torch.from_numpy(one_hot[graphs.edge_types[edges]]),
        y=torch.tensor([graphs.targets[place]], dtype=torch.float32),
    )


class Pairs(BaseTransform):
    """Bonds -> all ordered pairs of atoms within a cutoff, ``edge_attr`` (E, 4) as in `as_data`.

    Args:
        cutoff: Angstrom.
    """

    def __init__(self, cutoff: float) -> None:
        self.cutoff = cutoff

    def forward(self, data: Data) -> Data:
        """Replaces the edges of one molecule."""
        assert data.pos is not None and data.edge_index is not None
        atoms = len(data.pos)
        bonds = to_dense_adj(data.edge_index, edge_attr=data.edge_attr, max_num_nodes=atoms)[0]
        square = (data.pos[:, None] - data.pos[None]).square().sum(dim=2)
        near = (square < self.cutoff**2) & ~torch.eye(atoms, dtype=torch.bool)
        data.edge_index = near.nonzero().T.contiguous()
        data.edge_attr = bonds[near]
        return data


class GaussianDistances(BaseTransform):
    """Puts 20 Gaussians of the edge's length before its bond type: ``edge_attr`` (E, 24).

    They are those of `trainables.models.pair_features.PairFeatures`, here for both directions and
    computed once a molecule.

    Args:
        cutoff: Angstrom, where they have faded out.
    """

    def __init__(self, cutoff: float) -> None:
        self.cutoff = cutoff
        self.centres = torch.linspace(0, cutoff, RADIAL)

    def forward(self, data: Data) -> Data:
        """Adds the features to one molecule."""
        assert data.pos is not None and data.edge_index is not None and data.edge_attr is not None
        source, target = data.edge_index
        distance = (data.pos[source] - data.pos[target]).norm(dim=1)
        fade = 0.5 * (torch.cos(torch.pi * distance.clamp(max=self.cutoff) / self.cutoff) + 1)
        away = (distance[:, None] - self.centres) / (self.cutoff / (RADIAL - 1))
        gaussians = torch.exp(-0.5 * away**2) * fade[:, None]
        data.edge_attr = torch.cat([gaussians, data.edge_attr], dim=1)
        return data


class ForgetHybridization(BaseTransform):
    """Zeroes aromaticity and hybridisation, as they are in PyG's published QM9."""

    def forward(self, data: Data) -> Data:
        """Replaces the node features of one molecule."""
        assert data.x is not None
        data.x = data.x.clone()
        data.x[:, HYBRIDIZATION] = 0
        return data
