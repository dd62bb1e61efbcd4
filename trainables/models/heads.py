"""Heads, which compute one number for each molecule from the features of its nodes.

Besides the features, a head gets the body's ``last`` layer, linear or the identity, and applies it
itself, see `trainables.models.family.Family`.

Shapes in this module: nodes N, pairs P, graphs G, width W.
"""

import torch
from torch import Tensor, nn

from trainables.models.adjacency import Adjacency


class MeanHead(nn.Module):
    """A head that averages over the nodes of a graph and applies a linear layer, as in the
    homework."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, x: Tensor, last: nn.Module, near: Adjacency) -> Tensor:
        """Computes one number for each graph.

        Args:
            x: Node features, (N, W).
            last: Last layer of the body, W -> W.
            near: Nodes of each graph.

        Returns:
            (G,).
        """
        mean = near.graph_means(x)
        return self.linear(last(mean)).squeeze(dim=1)  # `last` is linear: G rows instead of N


class DipoleHead(nn.Module):
    """A head that returns the norm of a dipole moment made of atomic charges and atomic dipoles.

    It computes ``| p + sum_i q_i r_i + sum_i sum_k c_ik v_ik |``, where p is a known
    approximation, or zero. The charges q are learned and sum to zero over the molecule. The atomic
    dipoles are sums of vectors v of the atom, with coefficients c computed from its features. The
    vectors are those of the body, if it has some; else the moments of the atom's neighbours, sums
    of the unit vectors to them weighted by the edge's vector, hence by a smooth function of the
    distance and by the bond type, or by 1 where edges have no vector. The result is invariant to
    translation (because of the zero sum), rotation, reflection and the order of the atoms.

    Args:
        width: Number of features of a node, W.
        vectors: Number of vectors of an atom.
        initial: Factor of the initial weights of the last layer.
    """

    def __init__(self, width: int, vectors: int, initial: float = 1.0) -> None:
        super().__init__()
        self.vectors = vectors
        # Subtracting the mean charge would cancel a bias of the charges.
        last = nn.Linear(width, 1 + vectors, bias=False)
        self.charges = nn.Sequential(nn.Linear(width, width), nn.SiLU(), last)
        with torch.no_grad():
            last.weight.mul_(initial)

    def forward(
        self,
        x: Tensor,
        last: nn.Module,
        near: Adjacency,
        vectors: Tensor,
        prior: Tensor | None = None,
    ) -> Tensor:
        """Computes the norm of each graph's dipole moment.

        Args:
            x: Node features, (N, W).
            last: Last layer of the body, W -> W.
            near: Positions, neighbours and graphs of the nodes.
            vectors: Vectors of the nodes, (N, 3, vectors).
            prior: Dipole moments to which those of the charges are added, (G, 3); None: 0.

        Returns:
            (G,).
        """
        charge, coefficients = self.charges(last(x)).split([1, self.vectors], dim=1)
        surplus = near.graph_sums(charge) / near.atoms
        dipole = (charge - near.to_nodes(surplus)) * near.positions
        dipole = dipole + (vectors * coefficients[:, None]).sum(dim=2)

        moment = near.graph_sums(dipole)  # (G, 3)
        if prior is not None:
            moment = moment + prior
        # The norm has no gradient at zero: a symmetric molecule would give NaN.
        return (moment.square().sum(dim=1) + 1e-12).sqrt()
