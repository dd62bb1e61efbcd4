"""Sums over neighbours whose contributions are optionally multiplied by learned filters.

Bonds have no features, as in the homework, and need no filters. Pairs of atoms within a cutoff
have a vector of their distance and bond type, see `trainables.models.pair_features`. From it a
linear layer computes a filter f_ij, a smooth function of the distance, by which the contribution
of a neighbour is multiplied: the continuous-filter convolution of SchNet (Schütt et al. 2017).

Shapes in this module: nodes N, pairs P, width W.
"""

from torch import Tensor, nn

from trainables.models.adjacency import Adjacency


def filter_layer(pair_features: int | None, width: int) -> nn.Linear | None:
    """Makes the layer that computes filters from the vectors of pairs.

    Args:
        pair_features: Number of features of a pair; None: edges have no features.
        width: Width of the filters, W.

    Returns:
        A linear layer; None if edges have no features.
    """
    return None if pair_features is None else nn.Linear(pair_features, width)


def neighbour_sum(
    x: Tensor,
    near: Adjacency,
    layer: nn.Linear | None,
    pairs: Tensor | None,
    *,
    own: bool = False,
) -> Tensor:
    """Sums over the neighbours of each node, through filters if edges have vectors.

    Args:
        x: Contribution of each node to its neighbours, (N, W).
        near: Neighbours of the nodes.
        layer: Layer made by `filter_layer`; None: no filters.
        pairs: Vectors of pairs, (P, features); None: no filters.
        own: Whether each node adds its own contribution, unfiltered.

    Returns:
        (N, W).
    """
    if layer is None or pairs is None:
        return near.sum(x, own=own)
    return near.filtered_sum(x, layer(pairs), own=own)
