"""The layers that are PyG's own on a CPU: GAT over bonds, and the convolution of DeepGCN.

Elsewhere they are computed with PyG's parameters by the sums of `trainables.models.adjacency`:
PyG's own make the processor wait for a GPU in each layer, and know no graphs that are filled up.

PyG takes as long to import as torch does; the other families do without it.
"""

from torch import Tensor, nn
from torch_geometric.nn import GATConv, GENConv

from trainables.models.adjacency import Adjacency
from trainables.models.neighbours import Neighbours


class BondAttention(GATConv):
    """GAT (Velickovic et al. 2018) over edges without features."""

    def forward(self, x: Tensor, near: Adjacency, pairs: None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(N, W_in) -> (N, H * W)."""
        del pairs
        if isinstance(near, Neighbours) and x.device.type == "cpu":
            return super().forward(x, near.batch.edge_index)
        assert self.lin is not None and self.bias is not None
        x = self.lin(x).unflatten(1, (self.heads, -1))
        to_own, to_neighbour = ((x * to).sum(dim=2) for to in (self.att_dst, self.att_src))
        heard = near.attention_aggregate(x, None, to_own, to_neighbour, None)
        return heard.flatten(start_dim=1) + self.bias


class SoftmaxConvolution(GENConv):
    """GENConv (Li et al. 2020), aggregated by softmax, over bonds without features or pairs with
    vectors, see `trainables.models.families.deepgcn`."""

    def __init__(self, width: int, pair_features: int | None) -> None:
        super().__init__(width, width, learn_t=True, norm="layer", edge_dim=pair_features)
        if pair_features == width:  # where PyG would add the vectors as they are
            self.lin_edge = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(N, W), vectors of pairs (P, features) or None -> (N, W)."""
        if pairs is None and isinstance(near, Neighbours) and x.device.type == "cpu":
            return super().forward(x, near.batch.edge_index)
        temperature = self.aggr_module.t
        assert isinstance(temperature, Tensor)  # learned
        of_pairs = None if pairs is None else self.lin_edge(pairs)
        return self.mlp(near.softmax_aggregate(x, of_pairs, temperature) + x)
