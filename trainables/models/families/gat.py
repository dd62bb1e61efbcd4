"""GAT (Velickovic et al. 2018), with optional filters f (see `trainables.models.filters`).

    x'_i = a_ii W x_i + sum_j a_ij f_ij * W x_j + b

The attention a of a head is the softmax, over a node's neighbours and itself, of the scores
``leaky_relu(s . W x_j + t . W x_i + r . e_ij)`` with slope 0.2 and the vectors of pairs e; a
node's score of itself has no term of an edge. The heads share the filters. With f = 1 and r = 0
this is the published convolution; where edges have no vectors, PyG's layer is used.

Shapes in this module: nodes N, edges E, pairs P, heads H, width W.
"""

from functools import partial

import torch
from optuna.distributions import IntDistribution
from torch import Tensor, nn

from trainables.models.adjacency import Adjacency
from trainables.models.family import BodyConfig, Family, PublishedR2, Stock
from trainables.models.homework import SOURCE, homework
from trainables.models.plain_body import PlainBody
from trainables.models.stock_body import StockPlainBody


class AttentionConvolution(nn.Module):
    """The graph attention convolution with filters, over pairs that have vectors.

    Args:
        width_in: Number of input features of a node, W_in.
        width: Number of output features of a head, W.
        heads: Number of heads, H, whose outputs are concatenated.
        pair_features: Number of features of a pair.
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
        """Convolves node features.

        Args:
            x: Node features, (N, W_in).
            near: Neighbours of the nodes.
            pairs: Vectors of pairs, (P, features).

        Returns:
            Outputs of all heads, concatenated, (N, H * W).
        """
        heard = near.attention_aggregate(
            self.lin(x).unflatten(1, (self.heads, -1)),
            self.filter(pairs),
            self.score_own,
            self.score_neighbour,
            self.score_edge(pairs),
        )
        return heard.flatten(start_dim=1) + self.bias


def layer(width: int, width_in: int, width_out: int, pair_features: int | None) -> nn.Module:
    """Makes a graph attention convolution with ``width_out / width`` heads of the given width."""
    heads = width_out // width
    if pair_features is None:
        from trainables.models.pyg_layers import BondAttention

        return BondAttention(width_in, width, heads=heads)
    return AttentionConvolution(width_in, width, heads, pair_features)


def body(config: BodyConfig, features: int, pair_features: int | None) -> PlainBody:
    """Makes the body of GAT, whose convolutions have several heads, except for the last one."""
    between, layer_of = config.heads * config.width, partial(layer, config.width)
    return PlainBody(config, features, pair_features, layer_of, between)


class StockFilteredGAT(nn.Module):
    """The graph attention convolution with filters, written with PyG's message passing.

    Scores are computed as in PyG's `GATConv` with ``edge_dim``.

    Args:
        width_in: Number of input features of a node, W_in.
        width: Number of output features of a head, W.
        heads: Number of heads, H, whose outputs are concatenated.
        edge_features: Number of features of an edge.
    """

    def __init__(self, width_in: int, width: int, heads: int, edge_features: int) -> None:
        super().__init__()
        from trainables.models.stock_messages import AttendedMessages

        self.heads = heads
        self.lin = nn.Linear(width_in, heads * width, bias=False)
        self.filter = nn.Linear(edge_features, width)
        self.score_edge = nn.Linear(edge_features, heads, bias=False)
        self.score_neighbour = nn.Parameter(torch.empty(heads, width))
        self.score_own = nn.Parameter(torch.empty(heads, width))
        self.bias = nn.Parameter(torch.zeros(heads * width))
        nn.init.xavier_uniform_(self.score_neighbour)
        nn.init.xavier_uniform_(self.score_own)
        self.messages = AttendedMessages()

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Convolves node features.

        Args:
            x: Node features, (N, W_in).
            edge_index: Source and target of each edge, (2, E).
            edge_attr: Vectors of the edges, (E, 24).

        Returns:
            Outputs of all heads, concatenated, (N, H * W).
        """
        x = self.lin(x).view(len(x), self.heads, -1)  # (N, H, W)
        loops = torch.arange(len(x), device=x.device)
        heard = self.messages(
            x,
            torch.cat([edge_index, torch.stack([loops, loops])], dim=1),
            filters=torch.cat([self.filter(edge_attr), x.new_ones(len(x), x.shape[2])]),
            own=(x * self.score_own).sum(dim=2),
            neighbour=(x * self.score_neighbour).sum(dim=2),
            scores=torch.cat([self.score_edge(edge_attr), x.new_zeros(len(x), self.heads)]),
        )
        return heard.flatten(start_dim=1) + self.bias


def stock_layer(width: int, width_in: int, width_out: int, edge_features: int | None) -> nn.Module:
    """Makes PyG's `GATConv` if edges have no vectors, else `StockFilteredGAT`."""
    from torch_geometric.nn import GATConv

    heads = width_out // width
    if edge_features is None:
        return GATConv(width_in, width, heads=heads)
    return StockFilteredGAT(width_in, width, heads, edge_features)


def stock_body(config: BodyConfig, features: int, edge_features: int | None) -> StockPlainBody:
    """Makes the body of GAT from PyG's layers, the counterpart of `body`."""
    between, layer_of = config.heads * config.width, partial(stock_layer, config.width)
    return StockPlainBody(config, features, edge_features, layer_of, between)


FAMILY = Family(
    key="gat",
    title="GAT",
    body=body,
    depth=IntDistribution(2, 6),
    deepest=8,
    homework=homework(depth=2),
    further={"heads": IntDistribution(1, 4)},
    published=PublishedR2(0.428, SOURCE),
    stock=Stock(stock_body),
)
