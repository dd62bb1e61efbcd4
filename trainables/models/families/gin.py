"""GIN (Xu et al. 2019) with epsilon 0, an MLP of two layers and optional filters f (see
`trainables.models.filters`).

    x'_i = V relu(W x_i + sum_j f_ij * W x_j + b) + c

With f = 1, and where edges have no vectors, this is the published convolution.

Shapes in this module: nodes N, edges E, pairs P, width W.
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
    """The convolution of GIN, with filters if edges have vectors.

    The linear part of the MLP's first layer commutes with the sum over neighbours. With filters,
    which have that layer's output width, it is applied before the sum; without filters after it,
    together with the bias.

    Args:
        width_in: Number of input features of a node, W_in.
        width: Number of output features of a node, W.
        pair_features: Number of features of a pair; None: edges have no vectors.
    """

    def __init__(self, width_in: int, width: int, pair_features: int | None) -> None:
        super().__init__()
        self.first = nn.Linear(width_in, width)
        self.second = nn.Linear(width, width)
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
        return self.second(self.hidden(x, near, pairs))

    def hidden(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """Computes the input of the MLP's second layer, (N, W), from the arguments of
        `forward`."""
        if self.filter is None:
            return self.first(near.sum(x, own=True)).relu_()
        x = nn.functional.linear(x, self.first.weight)
        return neighbour_sum(x, near, self.filter, pairs, own=True).add_(self.first.bias).relu_()


class GINBody(PlainBody):
    """The body of GIN, in which no norm, ReLU or dropout follows the last convolution.

    This is as in PyG's `GIN`, whose last MLP already contains a ReLU. The linear layer at the end
    of that MLP is left to the head, see `last`.

    Args:
        config: Depth, width, normalisation and dropout.
        features: Number of input features of a node.
        pair_features: Number of features of a pair; None: edges have no vectors.
    """

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
        """Layer that the head still has to apply to the features of each node, W -> W: the second
        layer of the last convolution's MLP."""
        return self._ending.second

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """Computes the features of each node before the `last` layer.

        Args:
            x: Input features of the nodes, (N, features).
            near: Neighbours of the nodes.
            pairs: Vectors of pairs, (P, 24); None: edges have no vectors.

        Returns:
            (N, W).
        """
        x = self.through(len(self.convolutions) - 1, x, near, pairs)
        return self._ending.hidden(x, near, pairs)


class StockFilteredGIN(nn.Module):
    """The convolution of GIN with filters, written with PyG's message passing.

    Args:
        width_in: Number of input features of a node, W_in.
        width: Number of output features of a node, W.
        edge_features: Number of features of an edge.
    """

    def __init__(self, width_in: int, width: int, edge_features: int) -> None:
        super().__init__()
        from trainables.models.stock_messages import FilteredMessages

        self.first = nn.Linear(width_in, width)
        self.second = nn.Linear(width, width)
        self.filter = nn.Linear(edge_features, width)
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
        x = nn.functional.linear(x, self.first.weight)
        heard = self.messages(x, edge_index, self.filter(edge_attr))
        return self.second(torch.relu(x + heard + self.first.bias))


def stock_layer(width_in: int, width: int, edge_features: int | None) -> nn.Module:
    """Makes PyG's `GINConv` if edges have no vectors, else `StockFilteredGIN`."""
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
