"""Layers that use PyTorch Geometric (PyG): GAT over bonds, and the convolution of DeepGCN.

On a CPU, over edges without vectors, they run PyG's own code. Otherwise they use PyG's parameters
but the sums of `trainables.models.adjacency`: PyG's layers make the processor wait for the GPU,
and do not support padded graphs.

Importing PyG takes as long as importing torch, so the other families do not use it.
"""

from torch import Tensor, nn
from torch_geometric.nn import GATConv, GENConv

from trainables.models.adjacency import Adjacency
from trainables.models.neighbours import Neighbours


class BondAttention(GATConv):
    """Graph attention convolution (GAT, Velickovic et al. 2018) over edges without features."""

    def forward(self, x: Tensor, near: Adjacency, pairs: None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Convolves node features over bonds.

        Args:
            x: Node features, (N, W_in).
            near: Neighbours of the nodes.
            pairs: Not used; bonds have no vectors.

        Returns:
            Outputs of all heads, concatenated, (N, H * W).
        """
        del pairs
        if isinstance(near, Neighbours) and x.device.type == "cpu":
            return super().forward(x, near.batch.edge_index)
        assert self.lin is not None and self.bias is not None
        x = self.lin(x).unflatten(1, (self.heads, -1))
        own, neighbour = self.att_dst[0], self.att_src[0]
        heard = near.attention_aggregate(x, None, own, neighbour, None)
        return heard.flatten(start_dim=1) + self.bias


class SoftmaxConvolution(GENConv):
    """GENConv (Li et al. 2020) with softmax aggregation, the convolution of DeepGCN.

    Args:
        width: Number of features of a node, W.
        pair_features: Number of features of a pair; None: edges are bonds without features.
    """

    def __init__(self, width: int, pair_features: int | None) -> None:
        super().__init__(width, width, learn_t=True, norm="layer", edge_dim=pair_features)
        if pair_features == width:  # PyG would add the vectors without a linear layer
            self.lin_edge = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Convolves node features over the edges.

        Args:
            x: Node features, (N, W).
            near: Neighbours of the nodes.
            pairs: Vectors of pairs, (P, features); None: edges have no vectors.

        Returns:
            (N, W).
        """
        if pairs is None and isinstance(near, Neighbours) and x.device.type == "cpu":
            return super().forward(x, near.batch.edge_index)
        temperature = self.aggr_module.t
        assert isinstance(temperature, Tensor)  # learned
        of_pairs = None if pairs is None else self.lin_edge(pairs)
        return self.mlp(near.softmax_aggregate(x, of_pairs, temperature) + x)
