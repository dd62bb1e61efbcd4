"""DeepGCN (Li et al. 2019, 2020): GENConv in pre-activated residual blocks.

Vectors of pairs go through a linear layer and are added to what the neighbour sends before
GENConv's softmax aggregation. The convolution itself is in `trainables.models.pyg_layers`.

Shapes below: nodes N, edges E, pairs P, width W.
"""

from optuna.distributions import IntDistribution
from torch import Tensor, nn

from trainables.models.adjacency import Adjacency
from trainables.models.family import BodyConfig, Family, Stock
from trainables.models.homework import homework
from trainables.models.norms import norm_of, normalized
from trainables.models.stock_body import stock_norm


class DeepBody(nn.Module):
    """DeepGCN: residual blocks of norm, ReLU, dropout, GENConv (the order "res+").

    As in Li et al. 2020, the first block's norm and ReLU come at the very end instead, where they
    close the residual stream.
    """

    def __init__(self, config: BodyConfig, features: int, pair_features: int | None) -> None:
        super().__init__()
        self.encode = nn.Linear(features, config.width)
        self.blocks = nn.ModuleList(
            ResidualBlock(config, pair_features) for _ in range(config.depth)
        )
        self.last = nn.Identity()

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, features), vectors of pairs (P, 24) or None -> (N, W)."""
        x = self.encode(x)
        first, *others = self.blocks
        assert isinstance(first, ResidualBlock)
        x = first.conv(x, near, pairs)
        for block in others:
            x = block(x, near, pairs)
        return first.normed(x, near)


class ResidualBlock(nn.Module):
    """Norm, ReLU, dropout, convolution, and what came in: PyG's `DeepGCNLayer` in the order
    "res+", which knows no rows that are no nodes."""

    def __init__(self, config: BodyConfig, pair_features: int | None) -> None:
        super().__init__()
        from trainables.models.pyg_layers import SoftmaxConvolution

        self.conv = SoftmaxConvolution(config.width, pair_features)
        self.norm = norm_of(config.normalization, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def normed(self, x: Tensor, near: Adjacency) -> Tensor:
        """(N, W) -> (N, W)."""
        return normalized(self.norm, x, near.there).relu()

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, W), vectors of pairs (P, 24) or None -> (N, W)."""
        return x + self.conv(self.dropout(self.normed(x, near)), near, pairs)


class StockDeepBody(nn.Module):
    """Residual blocks as in PyG's ``examples/ogbn_proteins_deepgcn.py``."""

    def __init__(self, config: BodyConfig, features: int, edge_features: int | None) -> None:
        super().__init__()
        self.encode = nn.Linear(features, config.width)
        blocks = (stock_block(config, edge_features) for _ in range(config.depth))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None) -> Tensor:
        """(N, features), (2, E), (E, 24) or None -> (N, W)."""
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
    """PyG's own layer."""
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
    # The homework has no DeepGCN; this is its protocol with 7 blocks.
    homework=homework(depth=7, normalization="layer"),
    stock=Stock(StockDeepBody),
)
