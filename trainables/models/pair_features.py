"""Encodes the distance and the bond type of pairs of atoms as vectors."""

import torch
from torch import Tensor, nn

from datasets.graphs import NO_BOND
from trainables.models.adjacency import Adjacency

RADIAL = 20
"""Number of Gaussians that encode a distance between 0 and the cutoff."""

PAIR_FEATURES = RADIAL + NO_BOND


class PairFeatures(nn.Module):
    """Encodes the distance and bond type of each pair of neighbours as a vector of 24 features.

    The first 20 are ``exp(-((d - centre) / spacing)^2 / 2) * (cos(pi d / cutoff) + 1) / 2`` for
    centres evenly spaced from 0 to the cutoff and the distance d in Angstrom. The last 4 are the
    one-hot bond type, all zero without a bond.

    Args:
        cutoff: Longest distance of a pair, in Angstrom.
    """

    centres: Tensor
    kinds: Tensor

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.spacing = cutoff / (RADIAL - 1)
        self.register_buffer("centres", torch.linspace(0, cutoff, RADIAL))
        self.register_buffer("kinds", torch.eye(NO_BOND + 1, NO_BOND), persistent=False)

    def forward(self, near: Adjacency) -> Tensor:
        """Returns the vectors of all pairs, (P, 24), in the order of the adjacency's pairs: those
        that were kept if they are of this cutoff."""
        if near.kept is not None and near.kept.cutoff == self.cutoff:
            return near.kept.vectors
        distance = near.distances
        fade = 0.5 * (torch.cos(torch.pi * distance.clamp(max=self.cutoff) / self.cutoff) + 1)
        gaussians = torch.exp(-0.5 * ((distance[:, None] - self.centres) / self.spacing).square())
        kinds = self.kinds.index_select(0, near.edge_types)
        return torch.cat([gaussians * fade[:, None], kinds], dim=1)
