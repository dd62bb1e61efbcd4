"""The body of most families, written as in PyTorch Geometric's documentation, for comparison.

Shapes in this module: nodes N, edges E, width W.
"""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from trainables.models.family import BodyConfig
from trainables.models.norms import Normalization

MakeStockLayer = Callable[[int, int, int | None], nn.Module]
"""Function that makes a PyG convolution from the numbers of features of a node before and after
it, and the number of features of an edge or None. The convolution takes (N, W_in), edges (2, E)
and, if edges have vectors, those."""


class StockPlainBody(nn.Module):
    """A sequence of PyG convolutions, each followed by normalisation, ReLU and dropout.

    Args:
        config: Depth, width, normalisation and dropout.
        features: Number of input features of a node.
        edge_features: Number of features of an edge; None: edges have no vectors.
        layer: Function that makes each convolution.
        between: Number of features of a node between the convolutions; None: W.
        ends_bare: Whether nothing follows the last convolution.
    """

    def __init__(
        self,
        config: BodyConfig,
        features: int,
        edge_features: int | None,
        layer: MakeStockLayer,
        between: int | None = None,
        ends_bare: bool = False,
    ) -> None:
        super().__init__()
        widths = [features, *[between or config.width] * (config.depth - 1), config.width]
        followed = widths[1 : -1 if ends_bare else None]
        self.convolutions = nn.ModuleList(
            layer(before, after, edge_features) for before, after in pairwise(widths)
        )
        self.norms = nn.ModuleList(stock_norm(config.normalization, width) for width in followed)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None) -> Tensor:
        """Computes the output features of each node.

        Args:
            x: Input features of the nodes, (N, features).
            edge_index: Source and target of each edge, (2, E).
            edge_attr: Vectors of the edges, (E, 24); None: edges have no vectors.

        Returns:
            (N, W).
        """
        edges = (edge_index,) if edge_attr is None else (edge_index, edge_attr)
        for layer, convolution in enumerate(self.convolutions):
            x = convolution(x, *edges)
            if layer < len(self.norms):
                x = self.dropout(self.norms[layer](x).relu())
        return x


def stock_norm(kind: Normalization, width: int) -> nn.Module:
    """Makes PyTorch's own normalisation layer of node features, (N, W) -> (N, W)."""
    return {"none": nn.Identity, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[kind](width)
