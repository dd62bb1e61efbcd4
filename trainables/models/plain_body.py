"""The body of most families: convolutions one after the other.

Shapes below: nodes N, pairs P, width W.
"""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from trainables.models.adjacency import Adjacency
from trainables.models.family import BodyConfig
from trainables.models.norms import norm_of, normalized

MakeLayer = Callable[[int, int, int | None], nn.Module]
"""Makes a convolution: of the number of features of a node before and after it, and that of a pair
or None. It takes (N, W_in), an `Adjacency` and the vectors of pairs, and gives (N, W)."""


class PlainBody(nn.Module):
    """Convolutions, each normalised, through ReLU and dropout.

    Args:
        config: Depth, width, normalisation and dropout.
        features: Of a node.
        pair_features: Of a pair; None: edges have no vectors.
        layer: Makes each convolution.
        between: Features of a node between the convolutions; None: W.
    """

    def __init__(
        self,
        config: BodyConfig,
        features: int,
        pair_features: int | None,
        layer: MakeLayer,
        between: int | None = None,
    ) -> None:
        super().__init__()
        widths = [features, *[between or config.width] * (config.depth - 1), config.width]
        self.convolutions = nn.ModuleList(
            layer(before, after, pair_features) for before, after in pairwise(widths)
        )
        self.norms = nn.ModuleList(norm_of(config.normalization, width) for width in widths[1:])
        self.dropout = nn.Dropout(config.dropout)

    @property
    def last(self) -> nn.Module:
        """What is still to be done to the features of each node: W -> W."""
        return nn.Identity()

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, features), vectors of pairs (P, 24) or None -> (N, W)."""
        return self.through(len(self.convolutions), x, near, pairs)

    def through(self, layers: int, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """Passes node features through the first so many of the convolutions."""
        for layer in range(layers):
            convolved = self.convolutions[layer](x, near, pairs)
            x = self.dropout(normalized(self.norms[layer], convolved, near.there).relu_())
        return x
