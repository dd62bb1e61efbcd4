"""What is known of a pair of atoms, their distance and their bond, as a vector."""

import torch
from torch import Tensor, nn

from datasets.graphs import NO_BOND
from trainables.models.adjacency import Adjacency

RADIAL = 20
"""Gaussians over 0 to the cutoff."""

PAIR_FEATURES = RADIAL + NO_BOND


class PairFeatures(nn.Module):
    """Distance and bond type of each pair of neighbours as a vector: Adjacency -> (P, 24).

    ``exp(-((d - centre) / spacing)^2 / 2) * (cos(pi d / cutoff) + 1) / 2`` for 20 centres evenly
    spaced over 0 to the cutoff (distances d in Angstrom), then the one-hot bond type, which is
    zero where there is no bond.
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
        """In the order of the adjacency's pairs."""
        distance = near.distances
        fade = 0.5 * (torch.cos(torch.pi * distance.clamp(max=self.cutoff) / self.cutoff) + 1)
        gaussians = torch.exp(-0.5 * ((distance[:, None] - self.centres) / self.spacing).square())
        kinds = self.kinds.index_select(0, near.edge_types)
        return torch.cat([gaussians * fade[:, None], kinds], dim=1)
