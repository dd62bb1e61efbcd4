"""The convolutions of the five families, without and with the geometry of their edges.

Bonds come without features, as in the homework. Pairs of atoms within a cutoff come with a vector
of their distance and bond type, see `PairFeatures`, from which a linear layer computes a filter
f_ij for each of them, any smooth function of the distance; what a neighbour sends is multiplied by
it, the continuous-filter convolution of SchNet (Schütt et al. 2017). In the families:

    GCN        x'_i = W x_i / d_i + sum_j f_ij * W x_j / sqrt(d_i d_j) + b,   d_i = 1 + degree
    GraphSAGE  x'_i = V x_i + mean_j f_ij * W x_j + b
    GIN        x'_i = V relu(W x_i + sum_j f_ij * W x_j + b) + c
    GAT        x'_i = a_ii W x_i + sum_j a_ij f_ij * W x_j + b, attention a computed from both ends
               and the edge's vector
    DeepGCN    GENConv's own: the vector, through a linear layer, is added to what the neighbour
               sends before its softmax aggregation

With f = 1 and a without the vector these are the families' own convolutions, and where there are
no filters the layers here compute just that. The sums are those of
`trainables.models.adjacency`; GAT without vectors and DeepGCN are in
`trainables.models.pyg_layers`.

Shapes below: nodes N, pairs P, heads H, width W.
"""

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


class GraphConvolution(nn.Module):
    """GCN (Kipf and Welling 2017), see above."""

    def __init__(self, width_in: int, width: int, pair_features: int | None) -> None:
        super().__init__()
        self.lin = nn.Linear(width_in, width, bias=False)
        nn.init.xavier_uniform_(self.lin.weight)  # as Kipf and Welling
        self.filter = _filter(pair_features, width)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, W_in), vectors of pairs (P, features) or None -> (N, W)."""
        root = (near.degree + 1).to(x.dtype).rsqrt()
        x = root * self.lin(x)
        return (root * _sum(x, near, self.filter, pairs, own=True)).add_(self.bias)


class SAGEConvolution(nn.Module):
    """GraphSAGE with mean aggregation (Hamilton et al. 2017), see above."""

    def __init__(self, width_in: int, width: int, pair_features: int | None) -> None:
        super().__init__()
        self.lin_l = nn.Linear(width_in, width, bias=False)
        self.lin_r = nn.Linear(width_in, width)
        self.filter = _filter(pair_features, width)

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, W_in), vectors of pairs (P, features) or None -> (N, W)."""
        total = _sum(self.lin_l(x), near, self.filter, pairs)
        return total / near.degree.clamp(min=1) + self.lin_r(x)


class GINConvolution(nn.Module):
    """GIN (Xu et al. 2019) with epsilon 0 and an MLP of two layers, see above.

    The MLP's first layer commutes with the sum. Filters have the layer's width, so it is taken
    before; without filters afterwards, where it adds its bias on the way.
    """

    def __init__(self, width_in: int, width: int, pair_features: int | None) -> None:
        super().__init__()
        self.first = nn.Linear(width_in, width)
        self.second = nn.Linear(width, width)
        self.filter = _filter(pair_features, width)

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, W_in), vectors of pairs (P, features) or None -> (N, W)."""
        return self.second(self.hidden(x, near, pairs))

    def hidden(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """What the second layer gets."""
        if self.filter is None:
            return self.first(near.sum(x, own=True)).relu_()
        x = nn.functional.linear(x, self.first.weight)
        return _sum(x, near, self.filter, pairs, own=True).add_(self.first.bias).relu_()


class AttentionConvolution(nn.Module):
    """GAT (Velickovic et al. 2018) over pairs with vectors e_ij, heads concatenated, see above.

    A head's attention is the softmax, over a node's neighbours and itself, of the scores
    ``leaky_relu(s . W x_j + t . W x_i + r . e_ij)`` with slope 0.2; the node's own score has no
    edge. The heads share the filters.
    """

    def __init__(self, width_in: int, width: int, heads: int, pair_features: int) -> None:
        super().__init__()
        self.heads = heads
        self.lin = nn.Linear(width_in, heads * width, bias=False)
        self.filter = nn.Linear(pair_features, width)
        self.score_edge = nn.Linear(pair_features, heads, bias=False)
        self.score_neighbour = nn.Parameter(torch.empty(heads, width))
        self.score_own = nn.Parameter(torch.empty(heads, width))
        self.bias = nn.Parameter(torch.zeros(heads * width))
        nn.init.xavier_uniform_(self.score_neighbour)
        nn.init.xavier_uniform_(self.score_own)

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor) -> Tensor:
        """(N, W_in), vectors of pairs (P, features) -> (N, H * W)."""
        # t . (W x_i) = (t W) . x_i, without a product for each node and each of its features.
        weight = self.lin.weight.unflatten(0, (self.heads, -1))  # (H, W, W_in)
        own = torch.einsum("hw,hwi->hi", self.score_own, weight)
        neighbour = torch.einsum("hw,hwi->hi", self.score_neighbour, weight)
        heard = near.attended_sum(
            self.lin(x).unflatten(1, (self.heads, -1)),
            self.filter(pairs),
            nn.functional.linear(x, own),
            nn.functional.linear(x, neighbour),
            self.score_edge(pairs),
        )
        return heard.flatten(start_dim=1) + self.bias


def _filter(pair_features: int | None, width: int) -> nn.Linear | None:
    return None if pair_features is None else nn.Linear(pair_features, width)


def _sum(
    x: Tensor,
    near: Adjacency,
    layer: nn.Linear | None,
    pairs: Tensor | None,
    *,
    own: bool = False,
) -> Tensor:
    """Over the neighbours, through their filters where there are any: (N, W) -> (N, W)."""
    if layer is None or pairs is None:
        return near.sum(x, own=own)
    return near.filtered_sum(x, layer(pairs), own=own)
