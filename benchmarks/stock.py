"""The same graph networks as PyG's documentation teaches to write them: what ours is measured by.

`Data` objects with their edge features computed once by a transform, `MessagePassing` layers,
PyG's own layers and models wherever it has them. The mathematics is that of
`trainables.models.gnn` and the parameters have the same names, so that `copy_weights` carries
weights across and the two can be shown to predict the same.

Shapes below: nodes N, edges E, graphs G, width W.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import (
    GIN,
    MLP,
    DeepGCNLayer,
    GATConv,
    GCNConv,
    GENConv,
    GINConv,
    MessagePassing,
    SAGEConv,
    global_add_pool,
    global_mean_pool,
)
from torch_geometric.transforms import BaseTransform, Compose
from torch_geometric.utils import degree, scatter, softmax

from benchmarks.stock_data import RADIAL, ForgetHybridization, GaussianDistances, Pairs
from datasets.graphs import NO_BOND, NODE_FEATURES
from trainables.models.gnn import GNNConfig

EDGE_FEATURES = RADIAL + NO_BOND


def prepared(data: Sequence[Data], config: GNNConfig) -> list[Data]:
    """The molecules as a configuration has them; what is given stays as it is."""
    transforms: list[BaseTransform] = []
    if not config.hybridization:
        transforms.append(ForgetHybridization())
    if config.edges == "distances":
        transforms += [Pairs(config.cutoff), GaussianDistances(config.cutoff)]
    transform = Compose(transforms)
    return [transform(molecule) for molecule in data]


class FilteredGCNConv(MessagePassing):
    """GCN whose messages are multiplied by a filter computed from the edge.

    ``x'_i = b + W x_i / d_i + sum_j f_ij * W x_j / sqrt(d_i d_j)``, d_i = 1 + degree.
    """

    def __init__(self, width_in: int, width: int, edge_features: int) -> None:
        super().__init__(aggr="add")
        self.lin = nn.Linear(width_in, width, bias=False)
        self.filter = nn.Linear(edge_features, width)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """(N, W_in), (2, E), (E, 24) -> (N, W)."""
        x = self.lin(x)
        source, target = edge_index
        root = (degree(target, num_nodes=len(x), dtype=x.dtype) + 1).rsqrt()
        filters = (root[source] * root[target])[:, None] * self.filter(edge_attr)
        own = root.square()[:, None] * x
        return self.propagate(edge_index, x=x, filters=filters) + own + self.bias

    def message(self, x_j: Tensor, filters: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x_j * filters


class FilteredSAGEConv(MessagePassing):
    """GraphSAGE with such filters: ``x'_i = V x_i + mean_j f_ij * W x_j + b``."""

    def __init__(self, width_in: int, width: int, edge_features: int) -> None:
        super().__init__(aggr="mean")
        self.lin_l = nn.Linear(width_in, width, bias=False)
        self.lin_r = nn.Linear(width_in, width)
        self.filter = nn.Linear(edge_features, width)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """(N, W_in), (2, E), (E, 24) -> (N, W)."""
        filters = self.filter(edge_attr)
        return self.propagate(edge_index, x=self.lin_l(x), filters=filters) + self.lin_r(x)

    def message(self, x_j: Tensor, filters: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x_j * filters


class FilteredGINConv(MessagePassing):
    """GIN with such filters: ``x'_i = V relu(W x_i + sum_j f_ij * W x_j + b) + c``."""

    def __init__(self, width_in: int, width: int, edge_features: int) -> None:
        super().__init__(aggr="add")
        self.first = nn.Linear(width_in, width)
        self.second = nn.Linear(width, width)
        self.filter = nn.Linear(edge_features, width)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """(N, W_in), (2, E), (E, 24) -> (N, W)."""
        x = nn.functional.linear(x, self.first.weight)
        heard = self.propagate(edge_index, x=x, filters=self.filter(edge_attr))
        return self.second(torch.relu(x + heard + self.first.bias))

    def message(self, x_j: Tensor, filters: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x_j * filters


class FilteredGATConv(MessagePassing):
    """GAT with such filters, which the heads H share; a node attends to itself, unfiltered.

    ``x'_i = a_ii W x_i + sum_j a_ij f_ij * W x_j + b``, the scores in the attention a those of
    `GATConv` with ``edge_dim``.
    """

    def __init__(self, width_in: int, width: int, heads: int, edge_features: int) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.heads = heads
        self.lin = nn.Linear(width_in, heads * width, bias=False)
        self.filter = nn.Linear(edge_features, width)
        self.score_edge = nn.Linear(edge_features, heads, bias=False)
        self.score_neighbour = nn.Parameter(torch.empty(heads, width))
        self.score_own = nn.Parameter(torch.empty(heads, width))
        self.bias = nn.Parameter(torch.zeros(heads * width))
        nn.init.xavier_uniform_(self.score_neighbour)
        nn.init.xavier_uniform_(self.score_own)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """(N, W_in), (2, E), (E, 24) -> (N, H * W)."""
        x = self.lin(x).view(len(x), self.heads, -1)  # (N, H, W)
        loops = torch.arange(len(x), device=x.device)
        filters = torch.cat([self.filter(edge_attr), x.new_ones(len(x), x.shape[2])])
        scores = torch.cat([self.score_edge(edge_attr), x.new_zeros(len(x), self.heads)])
        heard = self.propagate(
            torch.cat([edge_index, torch.stack([loops, loops])], dim=1),
            x=x,
            neighbour=(x * self.score_neighbour).sum(dim=2),
            own=(x * self.score_own).sum(dim=2),
            scores=scores,
            filters=filters,
        )
        return heard.flatten(start_dim=1) + self.bias

    def message(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        x_j: Tensor,
        neighbour_j: Tensor,
        own_i: Tensor,
        scores: Tensor,
        filters: Tensor,
        index: Tensor,
        size_i: int,
    ) -> Tensor:
        scores = nn.functional.leaky_relu(neighbour_j + own_i + scores, 0.2)
        attention = softmax(scores, index, num_nodes=size_i)  # (E + N, H)
        return attention[:, :, None] * filters[:, None] * x_j


def _convolution(
    config: GNNConfig, width_in: int, heads: int, edge_features: int | None
) -> nn.Module:
    """PyG's own layer where edges have no features."""
    width = config.width
    if edge_features is None:
        match config.family:
            case "gcn":
                return GCNConv(width_in, width)
            case "sage":
                return SAGEConv(width_in, width)
            case "gin":
                return GINConv(MLP([width_in, width, width], norm=None))
            case _:
                return GATConv(width_in, width, heads=heads)
    match config.family:
        case "gcn":
            return FilteredGCNConv(width_in, width, edge_features)
        case "sage":
            return FilteredSAGEConv(width_in, width, edge_features)
        case "gin":
            return FilteredGINConv(width_in, width, edge_features)
        case _:
            return FilteredGATConv(width_in, width, heads, edge_features)


def _norm(kind: str, width: int) -> nn.Module:
    return {"none": nn.Identity, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[kind](width)


class PlainBody(nn.Module):
    """Convolutions one after the other, each normalised, through ReLU and dropout.

    GIN's last convolution ends bare, as in PyG's own `GIN`.
    """

    def __init__(self, config: GNNConfig, features: int, edge_features: int | None) -> None:
        super().__init__()
        concatenated = config.width * (config.heads if config.family == "gat" else 1)
        widths = [features] + [concatenated] * (config.depth - 1) + [config.width]
        self.ends_bare = config.family == "gin"
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for layer in range(config.depth):
            last = layer == config.depth - 1
            heads = 1 if last else config.heads
            self.convolutions.append(_convolution(config, widths[layer], heads, edge_features))
            norm = "none" if last and self.ends_bare else config.normalization
            self.norms.append(_norm(norm, widths[layer + 1]))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None) -> Tensor:
        """(N, features), (2, E), (E, 24) or None -> (N, W)."""
        last = len(self.convolutions) - 1
        for layer, convolution in enumerate(self.convolutions):
            if edge_attr is None:
                x = convolution(x, edge_index)
            else:
                x = convolution(x, edge_index, edge_attr)
            if layer < last or not self.ends_bare:
                x = self.dropout(torch.relu(self.norms[layer](x)))
        return x


class DeepBody(nn.Module):
    """Residual blocks as in PyG's ``examples/ogbn_proteins_deepgcn.py``."""

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

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None) -> Tensor:
        """(N, features), (2, E), (E, 24) or None -> (N, W)."""
        x = self.encode(x)
        first = self.blocks[0]
        assert isinstance(first, DeepGCNLayer) and first.conv is not None
        x = first.conv(x, edge_index, edge_attr)
        for block in self.blocks[1:]:
            x = block(x, edge_index, edge_attr)
        assert first.norm is not None
        return torch.relu(first.norm(x))


class MeanHead(nn.Module):
    """Mean over the nodes of a graph, then a linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, x: Tensor, data: Data, edge_attr: Tensor | None) -> Tensor:
        """(N, W) -> (G,)."""
        del edge_attr
        return self.linear(global_mean_pool(x, data.batch)).squeeze(dim=1)


class DipoleHead(nn.Module):
    """The norm of a dipole moment made of atomic charges and atomic dipoles.

    ``| sum_i q_i r_i + sum_i sum_j (c_i . e_ij) u_ij |`` with charges q that sum to zero, unit
    vectors u_ij from atom i to atom j and edge features e_ij, 1 where edges have none.
    """

    def __init__(self, width: int, edge_features: int | None) -> None:
        super().__init__()
        self.edge_features = edge_features or 1
        self.charges = nn.Sequential(
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 1 + self.edge_features, bias=False),
        )

    def forward(self, x: Tensor, data: Data, edge_attr: Tensor | None) -> Tensor:
        """(N, W), (E, 24) or None -> (G,)."""
        assert data.pos is not None and data.edge_index is not None and data.batch is not None
        charge, coefficients = self.charges(x).split([1, self.edge_features], dim=1)
        charge = charge - global_mean_pool(charge, data.batch)[data.batch]  # (N, 1)
        source, target = data.edge_index
        weight = coefficients[source]  # (E, 24) or (E, 1)
        if edge_attr is not None:
            weight = (weight * edge_attr).sum(dim=1, keepdim=True)  # (E, 1)
        unit = nn.functional.normalize(data.pos[target] - data.pos[source], dim=1)
        dipole = scatter(weight * unit, source, dim_size=len(x), reduce="sum")  # (N, 3)
        moment = global_add_pool(charge * data.pos + dipole, data.batch)  # (G, 3)
        # The norm has no gradient at zero: a symmetric molecule would give NaN.
        return (moment.square().sum(dim=1) + 1e-12).sqrt()


class StockGNN(nn.Module):
    """Any configuration of the study, in the plain way; predicts in the unit of the target.

    Args:
        config: Architecture.
        mean: Of the targets of the train split, their unit; added to what the mean head gives.
        std: What the network's own output is multiplied by.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, config: GNNConfig, mean: float, std: float) -> None:
        super().__init__()
        self.config = config
        features = NODE_FEATURES + 3 * config.raw_positions
        edge_features = EDGE_FEATURES if config.edges == "distances" else None
        body = DeepBody if config.family == "deepgcn" else PlainBody
        self.body = body(config, features, edge_features)
        if config.head == "dipole":
            self.head = DipoleHead(config.width, edge_features)
        else:
            self.head = MeanHead(config.width)
        self.register_buffer("shift", torch.tensor(mean * (config.head == "mean")))
        self.register_buffer("scale", torch.tensor(std))

    def forward(self, data: Data) -> Tensor:
        """A batch of what `prepared` returned -> (G,)."""
        assert data.x is not None and data.pos is not None
        x = torch.cat([data.x, data.pos], dim=1) if self.config.raw_positions else data.x
        edge_attr = data.edge_attr if self.config.edges == "distances" else None
        x = self.body(x, data.edge_index, edge_attr)  # (N, W)
        return self.shift + self.scale * self.head(x, data, edge_attr)


class HomeworkGIN(nn.Module):
    """The GIN preset with PyG's own model: `GIN`, mean over the nodes, a linear layer.

    Args:
        config: ``GNNConfig(**homework("gin"))``.
    """

    def __init__(self, config: GNNConfig) -> None:
        super().__init__()
        self.body = GIN(NODE_FEATURES + 3, config.width, num_layers=config.depth)
        self.linear = nn.Linear(config.width, 1)

    def forward(self, data: Data) -> Tensor:
        """A batch of `as_data` -> (G,)."""
        assert data.x is not None and data.pos is not None
        x = self.body(torch.cat([data.x, data.pos], dim=1), data.edge_index)  # (N, W)
        return self.linear(global_mean_pool(x, data.batch)).squeeze(dim=1)


PYG_NAMES = {
    r"(convs|convolutions)\.(\d+)\.first\.(weight|bias)": r"\1.\2.nn.lins.0.\3",
    r"(convs|convolutions)\.(\d+)\.second\.(weight|bias)": r"\1.\2.nn.lins.1.\3",
    r"convolutions\.(\d+)\.lin_r\.bias": r"convolutions.\1.lin_l.bias",
}
"""How our parameters are called in PyG's own layers, as patterns: `GINConv`, `SAGEConv`."""

HOMEWORK_NAMES = {r"body\.convolutions": "body.convs", r"head\.linear": "linear"}
"""And in `HomeworkGIN`."""


def under_stock_names(ours: Mapping[str, Tensor], stock: nn.Module) -> dict[str, Tensor]:
    """Weights or gradients of our `GNN` under the names that the stock model has for them."""
    named = {name: w for name, w in ours.items() if not name.startswith("pair_features.")}
    patterns: Mapping[str, str] = {}
    if isinstance(stock, HomeworkGIN):
        patterns = HOMEWORK_NAMES | PYG_NAMES
        named = {name: w for name, w in named.items() if name not in ("shift", "scale")}
    elif isinstance(stock, StockGNN) and stock.config.edges == "bonds":
        patterns = PYG_NAMES
    for pattern, name in patterns.items():
        named = {re.sub(pattern, name, known): w for known, w in named.items()}
    return named


def copy_weights(ours: nn.Module, stock: nn.Module) -> None:
    """Gives a stock model the weights of our `GNN` of the same configuration.

    Raises:
        RuntimeError: If a parameter has no counterpart.
    """
    # GINConv keeps its epsilon, 0, as a buffer, ours has none.
    epsilon = {name: w for name, w in stock.state_dict().items() if name.endswith(".eps")}
    stock.load_state_dict(epsilon | under_stock_names(ours.state_dict(), stock))
