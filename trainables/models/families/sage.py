"""GraphSAGE with mean aggregation (Hamilton et al. 2017), without and with filters f (see
`trainables.models.filters`).

    x'_i = V x_i + mean_j f_ij * W x_j + b

With f = 1 this is the family's own convolution, and where there are no filters just that.

Shapes below: nodes N, edges E, pairs P, width W.
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
    """The convolution above."""

    def __init__(self, width_in: int, width: int, pair_features: int | None) -> None:
        super().__init__()
        self.lin_l = nn.Linear(width_in, width, bias=False)
        self.lin_r = nn.Linear(width_in, width)
        self.filter = filter_layer(pair_features, width)

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, W_in), vectors of pairs (P, features) or None -> (N, W)."""
        total = neighbour_sum(self.lin_l(x), near, self.filter, pairs)
        return total / near.degree.clamp(min=1) + self.lin_r(x)


class StockFilteredSAGE(nn.Module):
    """The convolution above by PyG's message passing."""

    def __init__(self, width_in: int, width: int, edge_features: int) -> None:
        super().__init__()
        from trainables.models.stock_messages import FilteredMessages

        self.lin_l = nn.Linear(width_in, width, bias=False)
        self.lin_r = nn.Linear(width_in, width)
        self.filter = nn.Linear(edge_features, width)
        self.messages = FilteredMessages("mean")

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """(N, W_in), (2, E), (E, 24) -> (N, W)."""
        return self.messages(self.lin_l(x), edge_index, self.filter(edge_attr)) + self.lin_r(x)


def stock_layer(width_in: int, width: int, edge_features: int | None) -> nn.Module:
    """PyG's own layer where edges have no vectors."""
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
