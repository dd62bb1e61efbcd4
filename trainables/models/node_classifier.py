"""Networks that classify the nodes of one graph, several at once: one for each split of its nodes.

Weights have a leading axis of splits S. Graph and features are shared, so that one sparse product
serves all splits, whose columns lie beside each other. Each family computes what the layers of
PyTorch Geometric compute that its docstring names.

Shapes below: nodes N, features F, classes C, width W, edges and loops M, heads H.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

import numpy as np
import torch
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Real
from optuna.distributions import IntDistribution as Whole
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from datasets.errors import InputError
from trainables.config import FitConfig, When, at_least, one_of
from trainables.dropout import dropped
from trainables.models.groups import Groups, taken
from trainables.sparse_matrix import SparseMatrix

Family = Literal["gcn", "gat", "appnp", "gcn2", "sgc"]
Penalised = Literal["first", "all"]

SLOPE = 0.2
"""Slope of GAT's leaky rectifier below 0."""


@dataclass(frozen=True)
class NodeConfig(FitConfig):
    """Hyperparameters of a node classifier."""

    family: Annotated[Family, Choice(get_args(Family))] = "gcn"
    """gcn (Kipf and Welling 2017), gat (Velickovic et al. 2018), appnp (Gasteiger et al. 2019),
    gcn2 (GCNII, Chen et al. 2020) or sgc (Wu et al. 2019)."""

    layers: Annotated[
        int,
        *(Whole(2, 8), When("family", ("gcn", "gat", "sgc"))),
        *(Whole(8, 16), When("family", ("appnp", "gcn2"))),
    ] = 2
    """Convolutions; in appnp and sgc the steps over which predictions or features spread."""

    width: Annotated[
        int,
        *(Whole(16, 128, log=True), When("family", ("gcn", "gat", "appnp"))),
        *(Whole(16, 64, log=True), When("family", ("gcn2",))),
    ] = 64
    """Hidden units; in gat those of all heads together, rounded up to a multiple of the heads."""

    heads: Annotated[int, Whole(1, 8), When("family", ("gat",))] = 8
    """Attention heads."""

    input_dropout: Annotated[float, Real(0.0, 0.8)] = 0.5
    """Share of the entries of the features that a training step leaves out."""

    dropout: Annotated[float, Real(0.0, 0.8), When("family", ("gcn", "gat", "appnp", "gcn2"))] = (
        0.5
    )
    """Share of the hidden units that a training step leaves out."""

    edge_dropout: Annotated[float, Real(0.0, 0.5)] = 0.0
    """Share of the edges that a training step leaves out; the others count for more."""

    alpha: Annotated[float, Real(0.05, 0.3), When("family", ("appnp", "gcn2"))] = 0.1
    """Share of its own first value that a node keeps in each convolution."""

    theta: Annotated[float, Real(0.2, 1.0), When("family", ("gcn2",))] = 0.5
    """Decides how much of a convolution is its linear map: log(theta / n + 1) of the n-th."""

    normalize: Annotated[bool, Choice((True, False))] = False
    """Whether the features of a node are divided by their sum."""

    learning_rate: Annotated[float, Real(1e-3, 5e-2, log=True)] = 1e-2
    """Peak step size of Adam."""

    l2: Annotated[float, Real(1e-5, 5e-2, log=True)] = 5e-4
    """Factor of the L2 penalty: half the sum of the squared weights, times this, is added to the
    loss."""

    penalised: Annotated[Penalised, Choice(get_args(Penalised))] = "first"
    """Which weights the L2 penalty is of: those of the first layer, as Kipf and Welling have it,
    or all; gcn2's convolutions have a factor of their own."""

    l2_convolutions: Annotated[float, Real(1e-4, 5e-2, log=True), When("family", ("gcn2",))] = 1e-2
    """Factor of the L2 penalty of the convolutions' maps, which are added to the identity."""

    schedule: Literal["constant", "cosine"] = "constant"
    warmup: float = 0.0
    weight_decay: float = 0.0
    gradient_clip: float = 0.0
    averaging: float = 0.0

    batch_size: int = 1
    """Has no meaning here: a step sees the whole graph."""

    epochs: int = 20
    """Epochs of 10 optimiser steps, each on the whole graph; the last one's weights are the
    result."""

    @property
    def title(self) -> str:
        size = f"{self.layers}" if self.family == "sgc" else f"{self.layers}x{self.width}"
        return f"{self.family} {size}"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("family", self.family, get_args(Family))
        one_of("penalised", self.penalised, get_args(Penalised))
        for name in ("layers", "width", "heads"):
            at_least(name, getattr(self, name), 1)
        for name in ("l2", "l2_convolutions", "alpha", "theta"):
            at_least(name, getattr(self, name), 0)
        for name in ("input_dropout", "dropout", "edge_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: expected 0 to below 1")
        if self.alpha > 1:
            raise InputError(f"alpha is {self.alpha}: expected 0 to 1")


def homework(family: Family) -> dict[str, Any]:
    """Returns a protocol like the published homework's as `NodeConfig` fields.

    Published are 16 hidden units of the GCN and 100 epochs. The rest is what tutorials of these
    networks have: two layers, GAT with 8 heads of 8 units and dropout of 0.6 of words and hidden
    units, GCN with dropout of 0.5 of hidden units only, Adam with a learning rate of 0.01 and an
    L2 penalty of 5e-4 of all weights. APPNP and GCNII, which the homework has not, spread over 8
    steps.
    """
    is_gat = family == "gat"
    return {
        "layers": 8 if family in ("appnp", "gcn2") else 2,
        "width": 64 if is_gat else 16,
        "heads": 8,
        "dropout": 0.6 if is_gat else 0.5,
        "input_dropout": 0.6 if is_gat else 0.0,
        "edge_dropout": 0.0,
        "normalize": True,
        "learning_rate": 0.01,
        "l2": 5e-4,
        "penalised": "all",
        "epochs": 10,
    }


@dataclass(frozen=True)
class DeviceGraph:
    """What a node classifier sees of a graph.

    Attributes:
        features: (N, F), as they are.
        shares: (N, F), each row divided by its sum.
        spread: (N, N), the adjacency with loops, normalised symmetrically (Kipf and Welling 2017).
        source: Of each edge, (M,) int64; edges are there in both directions, with a loop at each
            node, and sorted by target, then source.
        by_target: Edges grouped by their target.
        reverse: Place of the opposite edge of each edge, (M,) int64.
    """

    features: SparseMatrix
    shares: SparseMatrix
    spread: SparseMatrix
    source: Tensor
    by_target: Groups
    reverse: Tensor

    @classmethod
    def of(
        cls, features: sparse.csr_matrix, edges: np.ndarray, device: torch.device
    ) -> "DeviceGraph":
        """Prepares a graph on a device.

        Args:
            features: (N, F).
            edges: (2, E) int64, each edge in both directions, without loops.
            device: Where the networks are.
        """
        nodes = len(features.indptr) - 1
        whole = np.hstack([edges, np.tile(np.arange(nodes), (2, 1))])
        whole = whole[:, np.lexsort((whole[0], whole[1]))]
        ones = np.ones(whole.shape[1])
        adjacency = sparse.csr_matrix((ones, (whole[1], whole[0])), (nodes, nodes))
        root: Any = sparse.diags(np.asarray(adjacency.sum(axis=1)).ravel() ** -0.5)
        sums = np.asarray(features.sum(axis=1)).ravel()
        share: Any = sparse.diags(1 / np.where(sums == 0, 1, sums))
        return cls(
            SparseMatrix.of(features.tocsr(), device),
            SparseMatrix.of((share @ features).tocsr(), device),
            SparseMatrix.of((root @ adjacency @ root).tocsr(), device),
            torch.from_numpy(whole[0]).to(device),
            Groups.of(torch.from_numpy(whole[1]).to(device), nodes),
            torch.from_numpy(np.lexsort((whole[1], whole[0]))).to(device),
        )

    def to_edges(self, x: Tensor) -> Tensor:
        """Copies the values of each node to the edges that begin there, (N, ...) -> (M, ...)."""

        def gradient(of_edges: Tensor) -> Tensor:
            return self.by_target.sums(of_edges.index_select(0, self.reverse))

        return taken(x, self.source, gradient)


class Linear(nn.Module):
    """A linear map for each split.

    Args:
        splits: Number of maps.
        inputs: Features of each map's input.
        outputs: Features of each map's output.
        bias: Whether each map adds a bias.
    """

    def __init__(self, splits: int, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        bound = math.sqrt(6 / (inputs + outputs))  # Glorot and Bengio 2010, as PyG's layers
        self.weight = nn.Parameter(torch.empty(splits, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(splits, outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, S, inputs) to (N, S, outputs)."""
        return self._shifted(torch.einsum("nsi,sio->nso", x, self.weight))

    def of_features(self, features: SparseMatrix, dropout: float) -> Tensor:
        """Maps sparse features, (N, inputs), to (N, S, outputs), by one product for all splits.

        Args:
            features: The same for every split.
            dropout: Share of their entries that is left out, the same ones for every split.
        """
        return self._shifted(features.product(self.weight.transpose(0, 1), dropout))

    def _shifted(self, x: Tensor) -> Tensor:
        return x if self.bias is None else x + self.bias


class NodeClassifier(nn.Module):
    """Scores the classes of each node, once for each split of the nodes.

    Args:
        config: Hyperparameters.
        splits: Number of networks that are trained beside each other.
        features: Features of a node.
        classes: Number of classes.
    """

    def __init__(self, config: NodeConfig, splits: int, features: int, classes: int) -> None:
        super().__init__()
        self.config = config
        self.body = BODIES[config.family](config, splits, features, classes)

    def forward(self, graph: DeviceGraph) -> Tensor:
        """Returns the scores, (N, S, C)."""
        return self.body(graph)

    def penalty(self) -> Tensor:
        """Returns the L2 penalty: half the sum of the squared weights, times the factors."""
        inner = list(self.body.convolutions.parameters())
        known = {id(weight) for weight in inner}
        whole = self.body.first if self.config.penalised == "first" else self
        outer = [weight for weight in whole.parameters() if id(weight) not in known]
        penalty = self.config.l2 * _half_squares(outer)
        return penalty + self.config.l2_convolutions * _half_squares(inner) if inner else penalty


def _half_squares(weights: Iterable[nn.Parameter]) -> Tensor:
    return torch.stack([weight.square().sum() for weight in weights]).sum() / 2


class Body(nn.Module):
    """What all families have: a first layer on the sparse features, and dropout.

    Args:
        config: Hyperparameters.
        first: The first layer.

    Attributes:
        convolutions: Maps that have an L2 penalty of their own; most families have none.
    """

    def __init__(self, config: NodeConfig, first: Linear) -> None:
        super().__init__()
        self.config = config
        self.first = first
        self.convolutions = nn.ModuleList()

    def begun(self, graph: DeviceGraph) -> Tensor:
        """Returns the first layer's output, (N, S, W)."""
        features = graph.shares if self.config.normalize else graph.features
        dropout = self.config.input_dropout if self.training else 0.0
        return self.first.of_features(features, dropout)

    def dropped(self, x: Tensor) -> Tensor:
        """Leaves out hidden units, in training."""
        return dropped(x, self.config.dropout if self.training else 0.0)

    def spread(self, graph: DeviceGraph, x: Tensor) -> Tensor:
        """Averages over neighbours: the normalised adjacency times x, (N, S, W)."""
        return graph.spread.product(x, self.config.edge_dropout if self.training else 0.0)


class GCN(Body):
    """Graph convolutions; PyG's `GCNConv`."""

    def __init__(self, config: NodeConfig, splits: int, features: int, classes: int) -> None:
        widths = [config.width] * (config.layers - 1) + [classes]
        super().__init__(config, Linear(splits, features, widths[0], bias=False))
        self.others = nn.ModuleList(
            Linear(splits, *sizes, bias=False) for sizes in pairwise(widths)
        )
        self.biases = nn.ParameterList(torch.zeros(splits, width) for width in widths)

    def forward(self, graph: DeviceGraph) -> Tensor:
        x = self.spread(graph, self.begun(graph)) + self.biases[0]
        for layer, bias in zip(self.others, list(self.biases)[1:], strict=True):
            x = self.spread(graph, layer(self.dropped(x.relu()))) + bias
        return x


class SGC(Body):
    """One linear map of features that were averaged over several rounds of neighbours; PyG's
    `SGConv`. The map comes first here, which gives the same and is less to average."""

    def __init__(self, config: NodeConfig, splits: int, features: int, classes: int) -> None:
        super().__init__(config, Linear(splits, features, classes, bias=False))
        self.bias = nn.Parameter(torch.zeros(splits, classes))

    def forward(self, graph: DeviceGraph) -> Tensor:
        x = self.begun(graph)
        for _ in range(self.config.layers):
            x = self.spread(graph, x)
        return x + self.bias


class APPNP(Body):
    """A perceptron of two layers, whose predictions spread as in personalised PageRank; PyG's
    `APPNP`."""

    def __init__(self, config: NodeConfig, splits: int, features: int, classes: int) -> None:
        super().__init__(config, Linear(splits, features, config.width, bias=True))
        self.second = Linear(splits, config.width, classes, bias=True)

    def forward(self, graph: DeviceGraph) -> Tensor:
        own = x = self.second(self.dropped(self.begun(graph).relu()))
        for _ in range(self.config.layers):
            x = (1 - self.config.alpha) * self.spread(graph, x) + self.config.alpha * own
        return x


class GCNII(Body):
    """Convolutions that keep a share of the first layer's output and of the identity; PyG's
    `GCN2Conv` between two linear maps."""

    def __init__(self, config: NodeConfig, splits: int, features: int, classes: int) -> None:
        super().__init__(config, Linear(splits, features, config.width, bias=True))
        self.convolutions.extend(
            Linear(splits, config.width, config.width, bias=False) for _ in range(config.layers)
        )
        self.last = Linear(splits, config.width, classes, bias=True)

    def forward(self, graph: DeviceGraph) -> Tensor:
        own = x = self.begun(graph).relu()
        for number, layer in enumerate(self.convolutions, start=1):
            beta = math.log(self.config.theta / number + 1)
            x = self.spread(graph, self.dropped(x))
            x = (1 - self.config.alpha) * x + self.config.alpha * own
            x = ((1 - beta) * x + beta * layer(x)).relu()
        return self.last(self.dropped(x))


class GAT(Body):
    """Attention over neighbours; PyG's `GATConv`, whose heads are concatenated in all layers but
    the last, where they are averaged."""

    def __init__(self, config: NodeConfig, splits: int, features: int, classes: int) -> None:
        each = -(-config.width // config.heads)
        outputs = [each] * (config.layers - 1) + [classes]
        inputs = [features] + [each * config.heads] * (config.layers - 1)
        super().__init__(config, Linear(splits, features, outputs[0] * config.heads, bias=False))
        self.others = nn.ModuleList(
            Linear(splits, before, after * config.heads, bias=False)
            for before, after in zip(inputs[1:], outputs[1:], strict=True)
        )
        self.attentions = nn.ModuleList(
            Attention(splits, config.heads, size, config.edge_dropout) for size in outputs
        )
        biases = [size * config.heads for size in outputs[:-1]] + [classes]
        self.biases = nn.ParameterList(torch.zeros(splits, size) for size in biases)

    def forward(self, graph: DeviceGraph) -> Tensor:
        x = self.begun(graph)
        for number, (attention, bias) in enumerate(zip(self.attentions, self.biases, strict=True)):
            if number:
                x = self.others[number - 1](self.dropped(functional.elu(x)))
            heads = attention(graph, x.unflatten(2, (self.config.heads, -1)))
            is_last = number == len(self.others)
            x = (heads.mean(dim=2) if is_last else heads.flatten(start_dim=2)) + bias
        return x


class Attention(nn.Module):
    """Weighs neighbours by a softmax of scores, as GAT does.

    Args:
        splits: Number of networks.
        heads: Attention heads of each.
        size: Features of a head.
        dropout: Share of the edges that is left out in training.
    """

    def __init__(self, splits: int, heads: int, size: int, dropout: float) -> None:
        super().__init__()
        bound = math.sqrt(6 / (1 + size))
        self.of_source = nn.Parameter(torch.empty(splits, heads, size).uniform_(-bound, bound))
        self.of_target = nn.Parameter(torch.empty(splits, heads, size).uniform_(-bound, bound))
        self.dropout = dropout

    def forward(self, graph: DeviceGraph, x: Tensor) -> Tensor:
        """Returns the weighted mean of each node's neighbours, (N, S, H, features), as x is."""
        edges = graph.by_target
        scores = graph.to_edges((x * self.of_source).sum(dim=3))
        scores = scores + edges.to_rows((x * self.of_target).sum(dim=3))
        scores = functional.leaky_relu(scores, SLOPE)
        weights = (scores - edges.to_rows(edges.largest(scores))).exp()
        shares = weights / edges.to_rows(edges.sums(weights))
        shares = dropped(shares, self.dropout if self.training else 0.0)
        return edges.sums(shares[..., None] * graph.to_edges(x))


BODIES = {"gcn": GCN, "gat": GAT, "appnp": APPNP, "gcn2": GCNII, "sgc": SGC}
