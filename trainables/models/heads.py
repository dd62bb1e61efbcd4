"""From the features of the nodes to one number a molecule.

A head also gets the linear layer, or nothing, that its body leaves to it, see
`trainables.models.family.Family`.

Shapes below: nodes N, pairs P, graphs G, width W.
"""

from torch import Tensor, nn

from trainables.models.adjacency import Adjacency


class MeanHead(nn.Module):
    """Mean over the nodes of a graph, then a linear layer, as in the homework."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, x: Tensor, last: nn.Module, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, W) -> (G,)."""
        del pairs
        mean = near.graph_means(x)
        return self.linear(last(mean)).squeeze(dim=1)  # of a graph each instead of a node


class DipoleHead(nn.Module):
    """The norm of a dipole moment made of atomic charges and atomic dipoles.

    ``| sum_i q_i r_i + sum_i sum_k c_ik sum_j e_ij,k u_ij |`` with learned charges q that sum to
    zero over the molecule, and atomic dipoles made of the unit vectors u_ij from an atom to its
    neighbours: each weighed by the edge's vector e_ij, hence by any smooth function of the
    distance and by the bond type, whose coefficients c the atom's own features decide. Edges
    without a vector weigh 1. Invariant to translation (because of the zero sum), rotation,
    reflection and the order of the atoms.
    """

    def __init__(self, width: int, pair_features: int | None) -> None:
        super().__init__()
        self.pair_features = pair_features or 1
        # A bias of the charges would go with the surplus.
        self.charges = nn.Sequential(
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 1 + self.pair_features, bias=False),
        )

    def forward(self, x: Tensor, last: nn.Module, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, W), (P, 24) or None -> (G,)."""
        charge, coefficients = self.charges(last(x)).split([1, self.pair_features], dim=1)
        surplus = near.graph_sums(charge) / near.atoms
        dipole = (charge - near.to_nodes(surplus)) * near.positions
        dipole = dipole + (near.moments(pairs) * coefficients[:, None]).sum(dim=2)

        moment = near.graph_sums(dipole)  # (G, 3)
        # The norm has no gradient at zero: a symmetric molecule would give NaN.
        return (moment.square().sum(dim=1) + 1e-12).sqrt()
