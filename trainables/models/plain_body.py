"""The body of most families of graph neural networks: a sequence of convolutions.

Shapes in this module: nodes N, pairs P, width W.
"""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from trainables.models.adjacency import Adjacency
from trainables.models.family import BodyConfig
from trainables.models.norms import norm_of, normalized

MakeLayer = Callable[[int, int, int | None], nn.Module]
"""Function that makes a convolution from the numbers of features of a node before and after it,
and the number of features of a pair or None. The convolution takes (N, W_in), an `Adjacency` and
the vectors of pairs or None, and returns (N, W)."""


class PlainBody(nn.Module):
    """A sequence of convolutions, each followed by normalisation, ReLU and dropout.

    Args:
        config: Depth, width, normalisation and dropout.
        features: Number of input features of a node.
        pair_features: Number of features of a pair; None: edges have no vectors.
        layer: Function that makes each convolution.
        between: Number of features of a node between the convolutions; None: W.
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
        """Layer that the head still has to apply to the features of each node, W -> W: none."""
        return nn.Identity()

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """Computes the output features of each node.

        Args:
            x: Input features of the nodes, (N, features).
            near: Neighbours of the nodes.
            pairs: Vectors of pairs, (P, 24); None: edges have no vectors.

        Returns:
            (N, W).
        """
        return self.through(len(self.convolutions), x, near, pairs)

    def through(self, layers: int, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """Passes node features through the first `layers` convolutions."""
        for layer in range(layers):
            convolved = self.convolutions[layer](x, near, pairs)
            x = self.dropout(normalized(self.norms[layer], convolved, near.there).relu_())
        return x
