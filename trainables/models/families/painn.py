"""PaiNN (Schütt et al. 2021, arXiv 2102.03150): nodes have scalar features s and vector features
v, which turn with the molecule.

A layer sends messages, and then mixes the features of each node:

    s_i += sum_j phi(s_j)_a * f_ij,a
    v_i += sum_j u_ij (x) phi(s_j)_b * f_ij,b + v_j * phi(s_j)_c * f_ij,c
    s_i += alpha(s_i, |V v_i|) + gamma(s_i, |V v_i|) * <U v_i, V v_i>
    v_i += beta(s_i, |V v_i|) * U v_i

Departures from the paper: the filters f are linear in this project's vectors of pairs, Gaussians
of the distance that fade out at the cutoff and the bond type, in place of sines; they have a bias,
and so does not vanish at the cutoff what they multiply. The first features are linear in the
features of an atom, in place of an embedding of its element; the scalar features are normalised
before each network, and what is added to them when they are mixed may have dropout. The length
|V v| is that of SchNetPack, whose gradient is finite at zero. The dipole moment is that of
`trainables.models.heads.DipoleHead`, in place of gated blocks. Where edges have no vectors, f is
1. The homework has no PaiNN; its preset is the homework's training with two layers. Of a
configuration's width, half are scalar features and half are vectors. Weights begin as in
SchNetPack: uniform after Glorot and Bengio (2010), biases at zero.

Shapes in this module: nodes N, pairs P, scalar features, and as many vector features, F.
"""

import torch
from optuna.distributions import IntDistribution
from torch import Tensor, nn

from trainables.models.adjacency import Adjacency
from trainables.models.family import BodyConfig, Family
from trainables.models.filters import filter_layer
from trainables.models.homework import homework
from trainables.models.norms import norm_of, normalized

EPSILON = 1e-8
"""Number added to the square of a vector's length, whose root has no gradient at zero."""


class PaiNNBody(nn.Module):
    """The body of PaiNN.

    Args:
        config: Depth, width, normalisation and dropout.
        features: Number of input features of a node.
        pair_features: Number of features of a pair; None: edges have no vectors.
    """

    def __init__(self, config: BodyConfig, features: int, pair_features: int | None) -> None:
        super().__init__()
        self.encode = nn.Linear(features, config.scalars)
        self.layers = nn.ModuleList(
            PaiNNLayer(config, pair_features, parts=2 if place == 0 else 3)
            for place in range(config.depth)
        )
        self.last = nn.Identity()
        self.apply(_initialized)

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> tuple[Tensor, Tensor]:
        """Computes the output features of each node.

        Args:
            x: Input features of the nodes, (N, features).
            near: Neighbours of the nodes.
            pairs: Vectors of pairs, (P, 24); None: edges have no vectors.

        Returns:
            Scalar features, (N, F), and vector features, (N, 3, F).
        """
        x, vectors = self.encode(x), None
        for layer in self.layers:
            x, vectors = layer(x, vectors, near, pairs)
        assert vectors is not None
        return x, vectors


class PaiNNLayer(nn.Module):
    """A layer of messages and mixing.

    Args:
        config: Width, normalisation and dropout.
        pair_features: Number of features of a pair; None: edges have no vectors.
        parts: Number of parts of a message, 2 in the first layer, whose nodes have no vectors
            yet; else 3.
    """

    def __init__(self, config: BodyConfig, pair_features: int | None, parts: int) -> None:
        super().__init__()
        width = config.scalars
        self.before, self.between = (norm_of(config.normalization, width) for _ in range(2))
        self.message = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, parts * width)
        )
        self.filter = filter_layer(pair_features, parts * width)
        self.mixed = nn.Linear(width, 2 * width, bias=False)
        self.update = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, 3 * width)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, vectors: Tensor | None, near: Adjacency, pairs: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Computes features from those of the layer before.

        Args:
            x: Scalar features, (N, F).
            vectors: Vector features, (N, 3, F); None in the first layer.
            near: Neighbours of the nodes.
            pairs: Vectors of pairs, (P, 24); None: edges have no vectors.

        Returns:
            Scalar features, (N, F), and vector features, (N, 3, F).
        """
        sent = self.message(normalized(self.before, x, near.there))
        if self.filter is None or pairs is None:
            filters = sent.new_ones(len(near.edge_types), sent.shape[1])
        else:
            filters = self.filter(pairs)
        scalars, heard = near.directed_sum(sent, filters.to(sent.dtype), vectors)
        x = x + scalars
        vectors = heard if vectors is None else vectors + heard

        moved, other = self.mixed(vectors).chunk(2, dim=2)  # U v and V v
        length = (other.square().sum(dim=1) + EPSILON).sqrt()
        features = torch.cat([normalized(self.between, x, near.there), length], dim=1)
        shift, factor, gate = self.update(features).chunk(3, dim=1)
        x = x + self.dropout(shift + factor * (moved * other).sum(dim=1))
        return x, vectors + gate[:, None] * moved


def _initialized(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


FAMILY = Family(
    key="painn",
    title="PaiNN",
    body=PaiNNBody,
    depth=IntDistribution(2, 6),
    deepest=8,
    homework=homework(depth=2),
    has_vectors=True,
)
