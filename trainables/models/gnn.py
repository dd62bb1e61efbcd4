"""Five families of graph neural networks that regress one number a molecule.

GCN (Kipf and Welling 2017), GAT (Velickovic et al. 2018), GraphSAGE with mean aggregation
(Hamilton et al. 2017), GIN (Xu et al. 2019) and DeepGCN (Li et al. 2019, 2020: GENConv in
pre-activated residual blocks), built from PyG's layers.

Edges are either the bonds, without features, as in the homework; or all pairs of atoms within a
cutoff, each with a feature vector: 20 Gaussians of its distance, faded out at the cutoff by half
a cosine, and its bond type. How that vector enters a layer:

    GIN       added to the neighbour's features (GINEConv, Hu et al. 2020)
    DeepGCN   added to the neighbour's features (GENConv's own edge features)
    GAT       part of the attention score (GATConv's own edge features)
    GCN       the neighbour's features are multiplied by a filter computed from it, the
    GraphSAGE continuous-filter convolution of SchNet (Schütt et al. 2017), inside the family's
              own normalisation and aggregation

Shapes below: nodes N, edges E, graphs G, width W.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn
from torch_geometric.nn import (
    MLP,
    DeepGCNLayer,
    GATConv,
    GCNConv,
    GENConv,
    GINConv,
    GINEConv,
    MessagePassing,
    SAGEConv,
    global_add_pool,
    global_mean_pool,
)
from torch_geometric.utils import degree

from datasets.errors import InputError
from datasets.graphs import BOND_TYPES, NO_BOND, NODE_FEATURES, GraphBatch
from datasets.standardize import Standardizer
from trainables.config import FitConfig, When, at_least, one_of

Family = Literal["gcn", "gat", "sage", "gin", "deepgcn"]
FAMILIES: tuple[Family, ...] = get_args(Family)
Normalization = Literal["none", "batch", "layer"]
Edges = Literal["bonds", "distances"]
Head = Literal["mean", "dipole"]

RADIAL = 20
"""Gaussians over 0 to the cutoff."""

EDGE_FEATURES = RADIAL + NO_BOND

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

    raw_positions: bool = False
    """Whether the raw coordinates are node features, as in the homework; the prediction then
    changes when the molecule turns."""

    @property
    def title(self) -> str:
        return f"{self.family} {self.depth}x{self.width} {self.edges} {self.head}"

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
        "raw_positions": True,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "weight_decay": 0.0,
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
        self.raw_positions = config.raw_positions
        features = NODE_FEATURES + 3 * config.raw_positions
        with_edges = config.edges == "distances"
        self.edge_features = EdgeFeatures(config.cutoff) if with_edges else None
        body = DeepBody if config.family == "deepgcn" else PlainBody
        self.body = body(config, features, EDGE_FEATURES if with_edges else None)
        if config.head == "dipole":
            self.head = DipoleHead(config.width, EDGE_FEATURES if with_edges else None)
        else:
            self.head = MeanHead(config.width)
        self.register_buffer("shift", torch.tensor(scale.mean * (config.head == "mean")))
        self.register_buffer("scale", torch.tensor(scale.std))

    def forward(self, batch: GraphBatch) -> Tensor:
        """Predicts the target of each graph: GraphBatch -> (G,)."""
        x = batch.node_features
        if self.raw_positions:
            x = torch.cat([x, batch.positions], dim=1)
        edges = None
        if self.edge_features is not None:
            edges = self.edge_features(batch)  # (E, 24)
        x = self.body(x, batch.edge_index, edges)  # (N, W)
        return self.shift + self.scale * self.head(x, edges, batch)


class EdgeFeatures(nn.Module):
    """Distance and bond type of each edge as a vector: GraphBatch -> (E, 24).

    ``exp(-((d - centre) / spacing)^2 / 2) * (cos(pi d / cutoff) + 1) / 2`` for 20 centres evenly
    spaced over 0 to the cutoff (distances d in Angstrom), then the one-hot bond type, which is
    zero where there is no bond: a pair that crosses the cutoff comes and goes without a jump.
    """

    centres: Tensor

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.spacing = cutoff / (RADIAL - 1)
        self.register_buffer("centres", torch.linspace(0, cutoff, RADIAL))

    def forward(self, batch: GraphBatch) -> Tensor:
        source, target = batch.edge_index
        distance = (batch.positions[source] - batch.positions[target]).norm(dim=1)
        fade = 0.5 * (torch.cos(torch.pi * distance.clamp(max=self.cutoff) / self.cutoff) + 1)
        gaussians = torch.exp(-0.5 * ((distance[:, None] - self.centres) / self.spacing) ** 2)
        kinds = nn.functional.one_hot(batch.edge_types, BOND_TYPES)[:, :NO_BOND]
        return torch.cat([gaussians * fade[:, None], kinds.to(gaussians.dtype)], dim=1)


class FilteredGCNConv(MessagePassing):
    """Graph convolution whose messages pass a filter computed from the edge.

    ``x'_i = b + W x_i / deg_i + sum_j (W x_j) * f(e_ji) / sqrt(deg_i deg_j)``, degrees counting
    the node itself, whose own message has no edge and passes unfiltered. f is linear in the edge's
    Gaussians, which makes it any smooth function of the distance.
    """

    def __init__(self, width_in: int, width: int, edge_features: int) -> None:
        super().__init__(aggr="add")
        self.linear = nn.Linear(width_in, width, bias=False)
        self.filter = nn.Linear(edge_features, width)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor) -> Tensor:
        """(N, W_in), (2, E), (E, features) -> (N, W)."""
        x = self.linear(x)
        source, target = edge_index
        root = (degree(target, num_nodes=len(x), dtype=x.dtype) + 1).rsqrt()
        filters = (root[source] * root[target])[:, None] * self.filter(edges)
        own = root.square()[:, None] * x
        return self.propagate(edge_index, x=x, filters=filters) + own + self.bias

    def message(self, x_j: Tensor, filters: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x_j * filters


class FilteredSAGEConv(MessagePassing):
    """GraphSAGE whose messages pass a filter computed from the edge.

    ``x'_i = W_1 x_i + mean_j (W_2 x_j) * f(e_ji)``.
    """

    def __init__(self, width_in: int, width: int, edge_features: int) -> None:
        super().__init__(aggr="mean")
        self.own = nn.Linear(width_in, width)
        self.neighbour = nn.Linear(width_in, width, bias=False)
        self.filter = nn.Linear(edge_features, width)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor) -> Tensor:
        """(N, W_in), (2, E), (E, features) -> (N, W)."""
        filters = self.filter(edges)
        return self.own(x) + self.propagate(edge_index, x=self.neighbour(x), filters=filters)

    def message(self, x_j: Tensor, filters: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x_j * filters


class PlainBody(nn.Module):
    """Convolutions one after the other, each normalised, through ReLU and dropout.

    GIN's last convolution ends bare, as in PyG's own `GIN`: its MLP has had its ReLU inside.
    """

    def __init__(self, config: GNNConfig, features: int, edge_features: int | None) -> None:
        super().__init__()
        concatenated = config.width * (config.heads if config.family == "gat" else 1)
        widths = [features] + [concatenated] * (config.depth - 1) + [config.width]
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for layer in range(config.depth):
            heads = config.heads if layer < config.depth - 1 else 1
            self.convolutions.append(_convolution(config, widths[layer], heads, edge_features))
            bare = config.family == "gin" and layer == config.depth - 1
            self.norms.append(_norm("none" if bare else config.normalization, widths[layer + 1]))
        self.ends_bare = config.family == "gin"
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor | None) -> Tensor:
        """(N, features), (2, E), (E, 24) or None -> (N, W)."""
        features = () if edges is None else (edges,)
        last = len(self.convolutions) - 1
        for layer, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            x = convolution(x, edge_index, *features)
            if layer == last and self.ends_bare:
                return x
            x = self.dropout(torch.relu(norm(x)))
        return x


def _convolution(
    config: GNNConfig, width_in: int, heads: int, edge_features: int | None
) -> nn.Module:
    width = config.width
    if config.family == "gcn":
        if edge_features is None:
            return GCNConv(width_in, width)
        return FilteredGCNConv(width_in, width, edge_features)
    if config.family == "sage":
        if edge_features is None:
            return SAGEConv(width_in, width)
        return FilteredSAGEConv(width_in, width, edge_features)
    if config.family == "gat":
        return GATConv(width_in, width, heads=heads, edge_dim=edge_features)
    mlp = MLP([width_in, width, width], norm=None)
    return GINConv(mlp) if edge_features is None else GINEConv(mlp, edge_dim=edge_features)


def _norm(kind: Normalization, width: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm1d(width)
    return nn.LayerNorm(width) if kind == "layer" else nn.Identity()


class DeepBody(nn.Module):
    """DeepGCN: residual blocks of norm, ReLU, dropout, GENConv (the order "res+").

    As in Li et al. 2020, the first block's norm and ReLU come at the very end instead, where they
    close the residual stream.
    """

    def __init__(self, config: GNNConfig, features: int, edge_features: int | None) -> None:
        super().__init__()
        width = config.width
        self.encode = nn.Linear(features, width)
        self.blocks = nn.ModuleList(
            DeepGCNLayer(
                GENConv(width, width, learn_t=True, norm="layer", edge_dim=edge_features),
                norm=_norm(config.normalization, width),
                act=nn.ReLU(),
                block="res+",
                dropout=config.dropout,
            )
            for _ in range(config.depth)
        )

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor | None) -> Tensor:
        """(N, features), (2, E), (E, 24) or None -> (N, W)."""
        x = self.encode(x)
        first = self.blocks[0]
        assert isinstance(first, DeepGCNLayer) and first.conv is not None
        x = first.conv(x, edge_index, edges)
        for block in self.blocks[1:]:
            x = block(x, edge_index, edges)
        assert first.norm is not None
        return torch.relu(first.norm(x))


class MeanHead(nn.Module):
    """Mean over the nodes of a graph, then a linear layer, as in the homework."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, x: Tensor, edges: Tensor | None, batch: GraphBatch) -> Tensor:
        """(N, W) -> (G,)."""
        del edges
        return self.linear(global_mean_pool(x, batch.graph, batch.size)).squeeze(dim=1)


class DipoleHead(nn.Module):
    """The norm of a dipole moment made of point charges and bond dipoles.

    ``| sum_i q_i r_i + sum_ij b_ij (r_j - r_i) / |r_j - r_i| |`` with learned charges q that sum
    to zero over the molecule and learned bond dipoles b on every edge. Invariant to translation
    (because of the zero sum), rotation, reflection and the order of the atoms.
    """

    def __init__(self, width: int, edge_features: int | None) -> None:
        super().__init__()
        self.charge = nn.Sequential(
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 1, bias=False),  # a bias would go with the surplus
        )
        self.source = nn.Linear(width, width)
        self.target = nn.Linear(width, width, bias=False)
        self.edge = None
        if edge_features is not None:
            self.edge = nn.Linear(edge_features, width, bias=False)
        # A bias would cancel between the two directions of an edge.
        self.bond = nn.Sequential(nn.SiLU(), nn.Linear(width, 1, bias=False))

    def forward(self, x: Tensor, edges: Tensor | None, batch: GraphBatch) -> Tensor:
        """(N, W), (E, 24) or None -> (G,)."""
        atoms = batch.graph.bincount(minlength=batch.size).to(x.dtype)[:, None]
        charge = self.charge(x)  # (N, 1)
        surplus = global_add_pool(charge, batch.graph, batch.size) / atoms
        dipole = (charge - surplus[batch.graph]) * batch.positions

        source, target = batch.edge_index
        hidden = self.source(x)[source] + self.target(x)[target]
        if self.edge is not None and edges is not None:
            hidden = hidden + self.edge(edges)
        along = nn.functional.normalize(batch.positions[target] - batch.positions[source], dim=1)
        dipole = dipole.index_add(0, source, self.bond(hidden) * along)

        moment = global_add_pool(dipole, batch.graph, batch.size)  # (G, 3)
        # The norm has no gradient at zero: a symmetric molecule would give NaN.
        return (moment.square().sum(dim=1) + 1e-12).sqrt()
