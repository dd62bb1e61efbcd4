"""From the features of the nodes to one number a molecule.

A head also gets the linear layer, or nothing, that its body leaves to it (`PlainBody.last`).

Shapes below: nodes N, edges E, pairs P = E / 2, graphs G, width W.
"""

from torch import Tensor, nn

from datasets.graphs import GraphBatch
from trainables.models.groups import means, sums
from trainables.models.neighbours import Neighbours


class MeanHead(nn.Module):
    """Mean over the nodes of a graph, then a linear layer, as in the homework."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(
        self,
        x: Tensor,
        last: nn.Module,
        near: Neighbours,
        pairs: Tensor | None,
        batch: GraphBatch,
    ) -> Tensor:
        """(N, W) -> (G,)."""
        del near, pairs
        mean = means(x, batch.graph, batch.size)
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

    def forward(
        self,
        x: Tensor,
        last: nn.Module,
        near: Neighbours,
        pairs: Tensor | None,
        batch: GraphBatch,
    ) -> Tensor:
        """(N, W), (P, 24) or None -> (G,)."""
        charge, coefficients = self.charges(last(x)).split([1, self.pair_features], dim=1)
        atoms = batch.graph.bincount(minlength=batch.size).to(x.dtype)[:, None]
        surplus = sums(charge, batch.graph, batch.size) / atoms
        dipole = (charge - surplus[batch.graph]) * batch.positions
        around = _around(near, pairs, batch.positions)
        dipole = dipole + (around * coefficients[:, None]).sum(dim=2)

        moment = sums(dipole, batch.graph, batch.size)  # (G, 3)
        # The norm has no gradient at zero: a symmetric molecule would give NaN.
        return (moment.square().sum(dim=1) + 1e-12).sqrt()


def _around(near: Neighbours, pairs: Tensor | None, positions: Tensor) -> Tensor:
    """What lies around each atom, ``sum_j e_ij,k u_ij``: (N, 3, 24), or (N, 3, 1).

    Not differentiable: neither positions nor distances are learned.
    """
    source, target = near.edge_index
    if pairs is not None:
        source, target = source.index_select(0, near.one_way), target.index_select(0, near.one_way)
    apart = positions.index_select(0, target) - positions.index_select(0, source)
    unit = nn.functional.normalize(apart, dim=1)
    return near.added_up(unit)[:, :, None] if pairs is None else near.moments(unit, pairs)
