"""Five families of graph neural networks that regress one number a molecule.

GCN (Kipf and Welling 2017), GAT (Velickovic et al. 2018), GraphSAGE with mean aggregation
(Hamilton et al. 2017), GIN (Xu et al. 2019) and DeepGCN (Li et al. 2019, 2020: GENConv in
pre-activated residual blocks). Edges are either the bonds, without features, as in the homework;
or all pairs of atoms within a cutoff, each with a vector of its distance and bond type. How that
vector enters each family is said in `trainables.models.convolutions`.

Shapes below: nodes N, pairs P, graphs G, width W.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn

from datasets.dense_graphs import DenseBatch
from datasets.errors import InputError
from datasets.graphs import NODE_FEATURES
from datasets.standardize import Standardizer
from datasets.stores import Batch
from trainables.config import FitConfig, When, at_least, one_of
from trainables.models.adjacency import Adjacency
from trainables.models.convolutions import (
    PAIR_FEATURES,
    AttentionConvolution,
    GINConvolution,
    GraphConvolution,
    PairFeatures,
    SAGEConvolution,
)
from trainables.models.dense_neighbours import DenseNeighbours
from trainables.models.heads import DipoleHead, MeanHead
from trainables.models.neighbours import Neighbours
from trainables.models.norms import MaskedBatchNorm, normalized

Family = Literal["gcn", "gat", "sage", "gin", "deepgcn"]
FAMILIES: tuple[Family, ...] = get_args(Family)
Normalization = Literal["none", "batch", "layer"]
Edges = Literal["bonds", "distances"]
Head = Literal["mean", "dipole"]

HYBRIDIZATION = slice(6, 10)
"""Columns of the node features: aromatic, sp, sp2, sp3."""

DEEPEST = {"gcn": 8, "gat": 8, "sage": 8, "gin": 8, "deepgcn": 28}
"""Most convolutions: without residual connections more than a few smooth everything out."""


@dataclass(frozen=True)
class GNNConfig(FitConfig):
    """Hyperparameters of a graph neural network regressor."""

    family: Annotated[Family, CategoricalDistribution(FAMILIES)] = "gcn"
    """The kind of convolution."""

    depth: Annotated[
        int,
        IntDistribution(2, 6),
        When("family", ("gcn", "gat", "sage", "gin")),
        IntDistribution(2, 28, log=True),
        When("family", ("deepgcn",)),
    ] = 3
    """Number of convolutions: 2 to 28 for DeepGCN, 2 to 8 for the others."""

    width: Annotated[int, IntDistribution(32, 128, log=True)] = 64
    """Features of a node between the convolutions (GAT: of each head)."""

    heads: Annotated[int, IntDistribution(1, 4), When("family", ("gat",))] = 2
    """Attention heads, concatenated; the last convolution has one."""

    normalization: Annotated[
        Normalization, CategoricalDistribution(("none", "batch", "layer"))
    ] = "layer"
    """Of the node features: none, over the batch, or over the features of each node."""

    dropout: Annotated[float, FloatDistribution(0.0, 0.3)] = 0.0
    """Share of node features dropped between the convolutions."""

    edges: Annotated[Edges, CategoricalDistribution(("bonds", "distances"))] = "distances"
    """Bonds without features, or all pairs within the cutoff with distance and bond type."""

    cutoff: Annotated[float, FloatDistribution(2.0, 6.0), When("edges", ("distances",))] = 4.0
    """Longest distance edge, in Angstrom."""

    head: Annotated[Head, CategoricalDistribution(("mean", "dipole"))] = "dipole"
    """Mean over the nodes and a linear layer, or the norm of a dipole moment made of atomic
    charges that sum to zero and of bond dipoles."""

    standardize: bool = True
    """Whether the model predicts in units of the train split's standard deviation."""

    hybridization: bool = True
    """Whether aromaticity and hybridisation are node features. In PyG's published QM9, which the
    homework learns from, they are zero (pyg-team/pytorch_geometric#8370)."""

    raw_positions: bool = False
    """Whether the raw coordinates are node features, as in the homework; the prediction then
    changes when the molecule turns."""

    @property
    def title(self) -> str:
        return f"{self.family} {self.depth}x{self.width} {self.edges} {self.head}"

    @property
    def pair_cutoff(self) -> float | None:
        """What `datasets.graphs.GraphStore` wants to know of the edges: the longest distance, in
        Angstrom; None: the bonds."""
        return self.cutoff if self.edges == "distances" else None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (
            ("family", FAMILIES),
            ("normalization", get_args(Normalization)),
            ("edges", get_args(Edges)),
            ("head", get_args(Head)),
        ):
            one_of(name, getattr(self, name), choices)
        if not 2 <= self.depth <= DEEPEST[self.family]:
            raise InputError(
                f"depth is {self.depth}: expected 2 to {DEEPEST[self.family]} for {self.family}"
            )
        at_least("width", self.width, 1)
        at_least("heads", self.heads, 1)
        at_least("cutoff", self.cutoff, 0, open_end=True)
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}: expected 0 to below 1")


def homework(family: Family) -> dict[str, object]:
    """The published homework's configuration of a family, as fields of `GNNConfig`.

    Two convolutions of width 128, each followed by ReLU (GIN: seven, the last one without), the
    raw position beside PyG's 11 node features, bonds as edges, mean pool and a linear layer,
    Adam at 1e-3, batches of 32, 50 epochs, squared error on the raw target. Source: public
    solution repository liblaf/84100343-Deep-Learning, hw2. The homework has no DeepGCN; its
    entry is the same protocol with 7 blocks.
    """
    return {
        "family": family,
        "depth": 7 if family in ("gin", "deepgcn") else 2,
        "width": 128,
        "heads": 4,
        "normalization": "layer" if family == "deepgcn" else "none",
        "dropout": 0.0,
        "edges": "bonds",
        "head": "mean",
        "standardize": False,
        "hybridization": False,
        "raw_positions": True,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "warmup": 0.0,
        "weight_decay": 0.0,
        "gradient_clip": 0.0,
        "averaging": 0.0,
        "batch_size": 32,
        "epochs": 50,
    }


class GNN(nn.Module):
    """Convolutions and a head; predicts in the unit of the target.

    Args:
        config: Architecture.
        scale: What the network's own output is multiplied by (std) and, with the mean head,
            shifted by (mean). A dipole moment's norm is not shifted: zero charges stay zero.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, config: GNNConfig, scale: Standardizer) -> None:
        super().__init__()
        self.hybridization = config.hybridization
        self.raw_positions = config.raw_positions
        features = NODE_FEATURES + 3 * config.raw_positions
        with_edges = config.edges == "distances"
        self.pair_features = PairFeatures(config.cutoff) if with_edges else None
        body = DeepBody if config.family == "deepgcn" else PlainBody
        self.body = body(config, features, PAIR_FEATURES if with_edges else None)
        if config.head == "dipole":
            self.head = DipoleHead(config.width, PAIR_FEATURES if with_edges else None)
        else:
            self.head = MeanHead(config.width)
        self.register_buffer("shift", torch.tensor(scale.mean * (config.head == "mean")))
        self.register_buffer("scale", torch.tensor(scale.std))

    def forward(self, batch: Batch) -> Tensor:
        """Predicts the target of each graph: -> (G,)."""
        x = batch.node_features
        if not self.hybridization:
            x = x.clone()
            x[:, HYBRIDIZATION] = 0
        if self.raw_positions:
            x = torch.cat([x, batch.positions], dim=1)
        near = adjacency_of(batch)
        pairs = None if self.pair_features is None else self.pair_features(near)  # (P, 24)
        x = self.body(x, near, pairs)  # (N, W)
        # Sums of charges and positions in half precision would depend on where a molecule lies.
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.scale.dtype)
            return self.shift + self.scale * self.head(x, self.body.last, near, pairs)


def adjacency_of(batch: Batch) -> Adjacency:
    """What the convolutions and heads ask of a batch."""
    if isinstance(batch, DenseBatch):
        return DenseNeighbours.of(batch)
    return Neighbours.of(batch)


class PlainBody(nn.Module):
    """Convolutions one after the other, each normalised, through ReLU and dropout.

    GIN's last convolution ends bare, as in PyG's own `GIN`: its MLP has had its ReLU inside. The
    linear layer with which it ends is left to the head, see `last`.
    """

    def __init__(self, config: GNNConfig, features: int, pair_features: int | None) -> None:
        super().__init__()
        concatenated = config.width * (config.heads if config.family == "gat" else 1)
        widths = [features] + [concatenated] * (config.depth - 1) + [config.width]
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for layer in range(config.depth):
            heads = config.heads if layer < config.depth - 1 else 1
            self.convolutions.append(_convolution(config, widths[layer], heads, pair_features))
            bare = config.family == "gin" and layer == config.depth - 1
            self.norms.append(_norm("none" if bare else config.normalization, widths[layer + 1]))
        self.dropout = nn.Dropout(config.dropout)

    @property
    def last(self) -> nn.Module:
        """What is still to be done to the features of each node: W -> W."""
        convolution = self.convolutions[-1]
        return convolution.second if isinstance(convolution, GINConvolution) else nn.Identity()

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, features), vectors of pairs (P, 24) or None -> (N, W)."""
        last = len(self.convolutions) - 1
        for layer, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            if isinstance(convolution, GINConvolution) and layer == last:
                return convolution.hidden(x, near, pairs)
            x = convolution(x, near, pairs)
            x = self.dropout(normalized(norm, x, near.there).relu_())
        return x


def _convolution(
    config: GNNConfig, width_in: int, heads: int, pair_features: int | None
) -> nn.Module:
    width = config.width
    if config.family == "gat":
        if pair_features is None:
            from trainables.models.pyg_layers import BondAttention

            return BondAttention(width_in, width, heads=heads)
        return AttentionConvolution(width_in, width, heads, pair_features)
    kinds = {"gcn": GraphConvolution, "sage": SAGEConvolution, "gin": GINConvolution}
    return kinds[config.family](width_in, width, pair_features)


def _norm(kind: Normalization, width: int) -> nn.Module:
    if kind == "batch":
        return MaskedBatchNorm(width)
    return nn.LayerNorm(width) if kind == "layer" else nn.Identity()


class DeepBody(nn.Module):
    """DeepGCN: residual blocks of norm, ReLU, dropout, GENConv (the order "res+").

    As in Li et al. 2020, the first block's norm and ReLU come at the very end instead, where they
    close the residual stream.
    """

    def __init__(self, config: GNNConfig, features: int, pair_features: int | None) -> None:
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

    def __init__(self, config: GNNConfig, pair_features: int | None) -> None:
        super().__init__()
        from trainables.models.pyg_layers import SoftmaxConvolution

        self.conv = SoftmaxConvolution(config.width, pair_features)
        self.norm = _norm(config.normalization, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def normed(self, x: Tensor, near: Adjacency) -> Tensor:
        """(N, W) -> (N, W)."""
        return normalized(self.norm, x, near.there).relu()

    def forward(self, x: Tensor, near: Adjacency, pairs: Tensor | None) -> Tensor:
        """(N, W), vectors of pairs (P, 24) or None -> (N, W)."""
        return x + self.conv(self.dropout(self.normed(x, near)), near, pairs)
