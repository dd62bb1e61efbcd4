"""DeepGCN (Li et al. 2019, 2020): GENConv in pre-activated residual blocks.

Before GENConv's softmax aggregation, a linear layer maps the vectors of pairs to width W, and the
result is added to the neighbour's features. The convolution is in `trainables.models.pyg_layers`.

Shapes in this module: nodes N, edges E, pairs P, width W.
"""

from optuna.distributions import IntDistribution
from torch import Tensor, nn

from trainables.models.adjacency import Adjacency
from trainables.models.family import BodyConfig, Family, Stock
from trainables.models.homework import homework
from trainables.models.norms import norm_of, normalized
from trainables.models.stock_body import stock_norm


class DeepBody(nn.Module):
    """The body of DeepGCN: residual blocks of norm, ReLU, dropout and GENConv (order "res+").

    As in Li et al. 2020, the first block's norm and ReLU are applied after the last block instead.

    Args:
        config: Depth, width, normalisation and dropout.
        features: Number of input features of a node.
        pair_features: Number of features of a pair; None: edges have no vectors.
    """

    def __init__(self, config: BodyConfig, features: int, pair_features: int | None) -> None:
        super().__init__()
        self.encode = nn.Linear(features, config.width)
        self.blocks = nn.ModuleList(
            ResidualBlock(config, pair_features) for _ in range(config.depth)
        )
        self.last = nn.Identity()

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """Computes the output features of each node.

        Args:
            x: Input features of the nodes, (N, features).
            near: Neighbours of the nodes.
            pairs: Vectors of pairs, (P, 24); None: edges have no vectors.

        Returns:
            (N, W).
        """
        x = self.encode(x)
        first, *others = self.blocks
        assert isinstance(first, ResidualBlock)
        x = first.conv(x, near, pairs)
        for block in others:
            x = block(x, near, pairs)
        return first.normed(x, near)


class ResidualBlock(nn.Module):
    """A residual block of norm, ReLU, dropout and convolution.

    It equals PyG's `DeepGCNLayer` with the order "res+", but supports padding rows.
    """

    def __init__(self, config: BodyConfig, pair_features: int | None) -> None:
        super().__init__()
        from trainables.models.pyg_layers import SoftmaxConvolution

        self.conv = SoftmaxConvolution(config.width, pair_features)
        self.norm = norm_of(config.normalization, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def normed(self, x: Tensor, near: Adjacency) -> Tensor:
        """Applies the block's norm and ReLU to node features, (N, W) -> (N, W)."""
        return normalized(self.norm, x, near.there).relu()

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """Adds the block's output to node features.

        Args:
            x: Node features, (N, W).
            near: Neighbours of the nodes.
            pairs: Vectors of pairs, (P, 24); None: edges have no vectors.

        Returns:
            (N, W).
        """
        return x + self.conv(self.dropout(self.normed(x, near)), near, pairs)


class StockDeepBody(nn.Module):
    """The body of DeepGCN in PyG's layers, as in its ``examples/ogbn_proteins_deepgcn.py``."""

    def __init__(self, config: BodyConfig, features: int, edge_features: int | None) -> None:
        super().__init__()
        self.encode = nn.Linear(features, config.width)
        blocks = (stock_block(config, edge_features) for _ in range(config.depth))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None) -> Tensor:
        """Computes the output features of each node.

        Args:
            x: Input features of the nodes, (N, features).
            edge_index: Source and target of each edge, (2, E).
            edge_attr: Vectors of the edges, (E, 24); None: edges have no vectors.

        Returns:
            (N, W).
        """
        from torch_geometric.nn import DeepGCNLayer

        x = self.encode(x)
        first = self.blocks[0]
        assert isinstance(first, DeepGCNLayer) and first.conv is not None
        x = first.conv(x, edge_index, edge_attr)
        for block in self.blocks[1:]:
            x = block(x, edge_index, edge_attr)
        assert first.norm is not None
        return first.norm(x).relu()


def stock_block(config: BodyConfig, edge_features: int | None) -> nn.Module:
    """Makes PyG's own residual block with GENConv."""
    from torch_geometric.nn import DeepGCNLayer, GENConv

    width = config.width
    return DeepGCNLayer(
        GENConv(width, width, learn_t=True, norm="layer", edge_dim=edge_features),
        norm=stock_norm(config.normalization, width),
        act=nn.ReLU(),
        block="res+",
        dropout=config.dropout,
    )


FAMILY = Family(
    key="deepgcn",
    title="DeepGCN",
    body=DeepBody,
    depth=IntDistribution(2, 28, log=True),
    deepest=28,
    # The homework has no DeepGCN; this is its training configuration with 7 blocks.
    homework=homework(depth=7, normalization="layer"),
    stock=Stock(StockDeepBody),
)
