"""Sums over neighbours, each of which may send through a filter.

Bonds come without features, as in the homework. Pairs of atoms within a cutoff come with a vector
of their distance and bond type, see `trainables.models.pair_features`, from which a linear layer
computes a filter f_ij, any smooth function of the distance; what a neighbour sends is multiplied
by it, the continuous-filter convolution of SchNet (Schütt et al. 2017).

Shapes below: nodes N, pairs P, width W.
"""

from torch import Tensor, nn

from trainables.models.adjacency import Adjacency


def filter_layer(pair_features: int | None, width: int) -> nn.Linear | None:
    """The layer that computes filters from the vectors of pairs; None: edges have no features."""
    return None if pair_features is None else nn.Linear(pair_features, width)


def neighbour_sum(
    x: Tensor,
    near: Adjacency,
    layer: nn.Linear | None,
    pairs: Tensor | None,
    *,
    own: bool = False,
) -> Tensor:
    """Sums over the neighbours, through their filters where there are any: (N, W) -> (N, W).

    Args:
        x: What each node sends, (N, W).
        near: Who is whose neighbour.
        layer: Made by `filter_layer`.
        pairs: Vectors of pairs, (P, features), or None.
        own: Whether a node adds itself, unfiltered.
    """
    if layer is None or pairs is None:
        return near.sum(x, own=own)
    return near.filtered_sum(x, layer(pairs), own=own)
