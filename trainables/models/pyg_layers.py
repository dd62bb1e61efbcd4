"""The layers that are PyG's own: GAT over bonds, and DeepGCN.

PyG takes as long to import as torch does; the other families do without it.
"""

from torch import Tensor, nn
from torch_geometric.nn import DeepGCNLayer, GATConv, GENConv

from trainables.models.neighbours import Neighbours


class BondAttention(GATConv):
    """GAT (Velickovic et al. 2018) over edges without features."""

    def forward(self, x: Tensor, near: Neighbours, pairs: None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(N, W_in) -> (N, H * W)."""
        del pairs
        return super().forward(x, near.edge_index)


class SoftmaxConvolution(GENConv):
    """GENConv (Li et al. 2020) over pairs with vectors, aggregated by softmax, see
    `trainables.models.convolutions`."""

    def forward(self, x: Tensor, near: Neighbours, pairs: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(N, W), vectors of pairs (P, features) -> (N, W)."""
        temperature = self.aggr_module.t
        assert isinstance(temperature, Tensor)  # learned
        heard = near.softened_sum(x, self.lin_edge(pairs), temperature)
        return self.mlp(heard + x)


def deep_block(
    width: int, pair_features: int | None, norm: nn.Module, dropout: float
) -> DeepGCNLayer:
    """A residual block of norm, ReLU, dropout, GENConv (the order "res+")."""
    convolution = GENConv if pair_features is None else SoftmaxConvolution
    return DeepGCNLayer(
        convolution(width, width, learn_t=True, norm="layer", edge_dim=pair_features),
        norm=norm,
        act=nn.ReLU(),
        block="res+",
        dropout=dropout,
    )
