"""GCN (Kipf and Welling 2017), with optional filters f (see `trainables.models.filters`).

    x'_i = W x_i / d_i + sum_j f_ij * W x_j / sqrt(d_i d_j) + b,   d_i = 1 + degree

With f = 1, and where edges have no vectors, this is the published convolution.

Shapes in this module: nodes N, edges E, pairs P, width W.
"""

from functools import partial

import torch
from optuna.distributions import IntDistribution
from torch import Tensor, nn

from trainables.models.adjacency import Adjacency
from trainables.models.family import Family, PublishedR2, Stock
from trainables.models.filters import filter_layer, neighbour_sum
from trainables.models.homework import SOURCE, homework
from trainables.models.plain_body import PlainBody
from trainables.models.stock_body import StockPlainBody


class GraphConvolution(nn.Module):
    """The graph convolution of GCN, with filters if edges have vectors.

    Args:
        width_in: Number of input features of a node, W_in.
        width: Number of output features of a node, W.
        pair_features: Number of features of a pair; None: edges have no vectors.
    """

    def __init__(self, width_in: int, width: int, pair_features: int | None) -> None:
        super().__init__()
        self.lin = nn.Linear(width_in, width, bias=False)
        nn.init.xavier_uniform_(self.lin.weight)  # as in Kipf and Welling
        self.filter = filter_layer(pair_features, width)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """Convolves node features.

        Args:
            x: Node features, (N, W_in).
            near: Neighbours of the nodes.
            pairs: Vectors of pairs, (P, features); None: edges have no vectors.

        Returns:
            (N, W).
        """
        root = (near.degree + 1).to(x.dtype).rsqrt()
        x = root * self.lin(x)
        return (root * neighbour_sum(x, near, self.filter, pairs, own=True)).add_(self.bias)


class StockFilteredGCN(nn.Module):
    """The graph convolution of GCN with filters, written with PyG's message passing.

    Args:
        width_in: Number of input features of a node, W_in.
        width: Number of output features of a node, W.
        edge_features: Number of features of an edge.
    """

    def __init__(self, width_in: int, width: int, edge_features: int) -> None:
        super().__init__()
        from trainables.models.stock_messages import FilteredMessages

        self.lin = nn.Linear(width_in, width, bias=False)
        self.filter = nn.Linear(edge_features, width)
        self.bias = nn.Parameter(torch.zeros(width))
        self.messages = FilteredMessages("add")

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Convolves node features.

        Args:
            x: Node features, (N, W_in).
            edge_index: Source and target of each edge, (2, E).
            edge_attr: Vectors of the edges, (E, 24).

        Returns:
            (N, W).
        """
        from torch_geometric.utils import degree

        x = self.lin(x)
        source, target = edge_index
        root = (degree(target, num_nodes=len(x), dtype=x.dtype) + 1).rsqrt()
        filters = (root[source] * root[target])[:, None] * self.filter(edge_attr)
        own = root.square()[:, None] * x
        return self.messages(x, edge_index, filters) + own + self.bias


def stock_layer(width_in: int, width: int, edge_features: int | None) -> nn.Module:
    """Makes PyG's `GCNConv` if edges have no vectors, else `StockFilteredGCN`."""
    from torch_geometric.nn import GCNConv

    if edge_features is None:
        return GCNConv(width_in, width)
    return StockFilteredGCN(width_in, width, edge_features)


FAMILY = Family(
    key="gcn",
    title="GCN",
    body=partial(PlainBody, layer=GraphConvolution),
    depth=IntDistribution(2, 6),
    deepest=8,
    homework=homework(depth=2),
    published=PublishedR2(0.451, SOURCE),
    stock=Stock(partial(StockPlainBody, layer=stock_layer)),
)
