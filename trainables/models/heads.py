"""Heads, which compute one number for each molecule from the features of its nodes.

Besides the features, a head gets the body's ``last`` layer, linear or the identity, and applies it
itself, see `trainables.models.family.Family`.

Shapes in this module: nodes N, pairs P, graphs G, width W.
"""

from torch import Tensor, nn

from trainables.models.adjacency import Adjacency


class MeanHead(nn.Module):
    """A head that averages over the nodes of a graph and applies a linear layer, as in the
    homework."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, x: Tensor, last: nn.Module, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """Computes one number for each graph.

        Args:
            x: Node features, (N, W).
            last: Last layer of the body, W -> W.
            near: Nodes of each graph.
            pairs: Not used.

        Returns:
            (G,).
        """
        del pairs
        mean = near.graph_means(x)
        return self.linear(last(mean)).squeeze(dim=1)  # `last` is linear: G rows instead of N


class DipoleHead(nn.Module):
    """A head that returns the norm of a dipole moment made of atomic charges and atomic dipoles.

    It computes ``| sum_i q_i r_i + sum_i sum_k c_ik sum_j e_ij,k u_ij |``. The charges q are
    learned and sum to zero over the molecule. The atomic dipoles are sums of the unit vectors u_ij
    from an atom to its neighbours, weighted by the edge's vector e_ij, hence by a smooth function
    of the distance and by the bond type, with coefficients c computed from the atom's features.
    Edges without a vector have weight 1. The result is invariant to translation (because of the
    zero sum), rotation, reflection and the order of the atoms.

    Args:
        width: Number of features of a node, W.
        pair_features: Number of features of a pair; None: edges have no vectors.
    """

    def __init__(self, width: int, pair_features: int | None) -> None:
        super().__init__()
        self.pair_features = pair_features or 1
        # Subtracting the mean charge would cancel a bias of the charges.
        self.charges = nn.Sequential(
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 1 + self.pair_features, bias=False),
        )

    def forward(self, x: Tensor, last: nn.Module, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """Computes the norm of each graph's dipole moment.

        Args:
            x: Node features, (N, W).
            last: Last layer of the body, W -> W.
            near: Positions, neighbours and graphs of the nodes.
            pairs: Vectors of pairs, (P, 24); None: edges have no vectors.

        Returns:
            (G,).
        """
        charge, coefficients = self.charges(last(x)).split([1, self.pair_features], dim=1)
        surplus = near.graph_sums(charge) / near.atoms
        dipole = (charge - near.to_nodes(surplus)) * near.positions
        dipole = dipole + (near.moments(pairs) * coefficients[:, None]).sum(dim=2)

        moment = near.graph_sums(dipole)  # (G, 3)
        # The norm has no gradient at zero: a symmetric molecule would give NaN.
        return (moment.square().sum(dim=1) + 1e-12).sqrt()
