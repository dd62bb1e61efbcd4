"""GraphSAGE with mean aggregation (Hamilton et al. 2017) and optional filters f (see
`trainables.models.filters`).

    x'_i = V x_i + mean_j f_ij * W x_j + b

With f = 1, and where edges have no vectors, this is the published convolution.

Shapes in this module: nodes N, edges E, pairs P, width W.
"""

from functools import partial

from optuna.distributions import IntDistribution
from torch import Tensor, nn

from trainables.models.adjacency import Adjacency
from trainables.models.family import Family, PublishedR2, Stock
from trainables.models.filters import filter_layer, neighbour_sum
from trainables.models.homework import SOURCE, homework
from trainables.models.plain_body import PlainBody
from trainables.models.stock_body import StockPlainBody


class SAGEConvolution(nn.Module):
    """The convolution of GraphSAGE, with filters if edges have vectors.

    Args:
        width_in: Number of input features of a node, W_in.
        width: Number of output features of a node, W.
        pair_features: Number of features of a pair; None: edges have no vectors.
    """

    def __init__(self, width_in: int, width: int, pair_features: int | None) -> None:
        super().__init__()
        self.lin_l = nn.Linear(width_in, width, bias=False)
        self.lin_r = nn.Linear(width_in, width)
        self.filter = filter_layer(pair_features, width)

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """Convolves node features.

        Args:
            x: Node features, (N, W_in).
            near: Neighbours of the nodes.
            pairs: Vectors of pairs, (P, features); None: edges have no vectors.

        Returns:
            (N, W).
        """
        total = neighbour_sum(self.lin_l(x), near, self.filter, pairs)
        return total / near.degree.clamp(min=1) + self.lin_r(x)


class StockFilteredSAGE(nn.Module):
    """The convolution of GraphSAGE with filters, written with PyG's message passing.

    Args:
        width_in: Number of input features of a node, W_in.
        width: Number of output features of a node, W.
        edge_features: Number of features of an edge.
    """

    def __init__(self, width_in: int, width: int, edge_features: int) -> None:
        super().__init__()
        from trainables.models.stock_messages import FilteredMessages

        self.lin_l = nn.Linear(width_in, width, bias=False)
        self.lin_r = nn.Linear(width_in, width)
        self.filter = nn.Linear(edge_features, width)
        self.messages = FilteredMessages("mean")

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Convolves node features.

        Args:
            x: Node features, (N, W_in).
            edge_index: Source and target of each edge, (2, E).
            edge_attr: Vectors of the edges, (E, 24).

        Returns:
            (N, W).
        """
        return self.messages(self.lin_l(x), edge_index, self.filter(edge_attr)) + self.lin_r(x)


def stock_layer(width_in: int, width: int, edge_features: int | None) -> nn.Module:
    """Makes PyG's `SAGEConv` if edges have no vectors, else `StockFilteredSAGE`."""
    from torch_geometric.nn import SAGEConv

    if edge_features is None:
        return SAGEConv(width_in, width)
    return StockFilteredSAGE(width_in, width, edge_features)


FAMILY = Family(
    key="sage",
    title="GraphSAGE",
    body=partial(PlainBody, layer=SAGEConvolution),
    depth=IntDistribution(2, 6),
    deepest=8,
    homework=homework(depth=2),
    published=PublishedR2(0.459, SOURCE),
    stock=Stock(
        partial(StockPlainBody, layer=stock_layer),
        names={r"\.lin_r\.bias": ".lin_l.bias"},  # PyG adds the bias on the neighbours' side
    ),
)
