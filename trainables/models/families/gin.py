"""GIN (Xu et al. 2019) with epsilon 0 and an MLP of two layers, without and with filters f (see
`trainables.models.filters`).

    x'_i = V relu(W x_i + sum_j f_ij * W x_j + b) + c

With f = 1 this is the family's own convolution, and where there are no filters just that.

Shapes below: nodes N, edges E, pairs P, width W.
"""

from functools import partial

import torch
from optuna.distributions import IntDistribution
from torch import Tensor, nn

from trainables.models.adjacency import Adjacency
from trainables.models.family import BodyConfig, Family, PublishedR2, Stock
from trainables.models.filters import filter_layer, neighbour_sum
from trainables.models.homework import SOURCE, homework
from trainables.models.plain_body import PlainBody
from trainables.models.stock_body import StockPlainBody


class GINConvolution(nn.Module):
    """The convolution above.

    The MLP's first layer commutes with the sum. Filters have the layer's width, so it is taken
    before; without filters afterwards, where it adds its bias on the way.
    """

    def __init__(self, width_in: int, width: int, pair_features: int | None) -> None:
        super().__init__()
        self.first = nn.Linear(width_in, width)
        self.second = nn.Linear(width, width)
        self.filter = filter_layer(pair_features, width)

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, W_in), vectors of pairs (P, features) or None -> (N, W)."""
        return self.second(self.hidden(x, near, pairs))

    def hidden(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """What the second layer gets."""
        if self.filter is None:
            return self.first(near.sum(x, own=True)).relu_()
        x = nn.functional.linear(x, self.first.weight)
        return neighbour_sum(x, near, self.filter, pairs, own=True).add_(self.first.bias).relu_()


class GINBody(PlainBody):
    """Convolutions of which the last ends bare, as in PyG's own `GIN`: its MLP has had its ReLU
    inside. The linear layer with which it ends is left to the head, see `last`."""

    def __init__(self, config: BodyConfig, features: int, pair_features: int | None) -> None:
        super().__init__(config, features, pair_features, GINConvolution)
        self.norms[-1] = nn.Identity()

    @property
    def _ending(self) -> GINConvolution:
        convolution = self.convolutions[-1]
        assert isinstance(convolution, GINConvolution)
        return convolution

    @property
    def last(self) -> nn.Module:
        """What is still to be done to the features of each node: W -> W."""
        return self._ending.second

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, features), vectors of pairs (P, 24) or None -> (N, W)."""
        x = self.through(len(self.convolutions) - 1, x, near, pairs)
        return self._ending.hidden(x, near, pairs)


class StockFilteredGIN(nn.Module):
    """The convolution above by PyG's message passing."""

    def __init__(self, width_in: int, width: int, edge_features: int) -> None:
        super().__init__()
        from trainables.models.stock_messages import FilteredMessages

        self.first = nn.Linear(width_in, width)
        self.second = nn.Linear(width, width)
        self.filter = nn.Linear(edge_features, width)
        self.messages = FilteredMessages("add")

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """(N, W_in), (2, E), (E, 24) -> (N, W)."""
        x = nn.functional.linear(x, self.first.weight)
        heard = self.messages(x, edge_index, self.filter(edge_attr))
        return self.second(torch.relu(x + heard + self.first.bias))


def stock_layer(width_in: int, width: int, edge_features: int | None) -> nn.Module:
    """PyG's own layer where edges have no vectors."""
    from torch_geometric.nn import MLP, GINConv

    if edge_features is None:
        return GINConv(MLP([width_in, width, width], norm=None))
    return StockFilteredGIN(width_in, width, edge_features)


FAMILY = Family(
    key="gin",
    title="GIN",
    body=GINBody,
    depth=IntDistribution(2, 6),
    deepest=8,
    homework=homework(depth=7),
    published=PublishedR2(0.541, SOURCE),
    stock=Stock(
        partial(StockPlainBody, layer=stock_layer, ends_bare=True),
        names={r"\.first\.": ".nn.lins.0.", r"\.second\.": ".nn.lins.1."},
    ),
)
