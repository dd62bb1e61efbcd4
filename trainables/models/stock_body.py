"""The body of most families as PyTorch Geometric's documentation teaches to write it.

Shapes below: nodes N, edges E, width W.
"""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from trainables.models.family import BodyConfig
from trainables.models.norms import Normalization

MakeStockLayer = Callable[[int, int, int | None], nn.Module]
"""Makes a convolution of PyG's: of the number of features of a node before and after it, and that
of an edge or None. It takes (N, W_in), edges (2, E) and, where these have any, their vectors."""


class StockPlainBody(nn.Module):
    """Convolutions one after the other, each normalised, through ReLU and dropout.

    Args:
        config: Depth, width, normalisation and dropout.
        features: Of a node.
        edge_features: Of an edge; None: edges have no vectors.
        layer: Makes each convolution.
        between: Features of a node between the convolutions; None: W.
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
        """(N, features), (2, E), (E, 24) or None -> (N, W)."""
        edges = (edge_index,) if edge_attr is None else (edge_index, edge_attr)
        for layer, convolution in enumerate(self.convolutions):
            x = convolution(x, *edges)
            if layer < len(self.norms):
                x = self.dropout(self.norms[layer](x).relu())
        return x


def stock_norm(kind: Normalization, width: int) -> nn.Module:
    """Makes a norm of node features (N, W), as PyTorch has it."""
    return {"none": nn.Identity, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[kind](width)
