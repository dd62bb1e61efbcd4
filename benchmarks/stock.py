"""Our graph networks as PyG's documentation teaches to write them: ours are measured by these.

`Data` objects with their edge features computed once by a transform, `MessagePassing` layers,
PyG's own layers and models wherever it has them. The layers of a family stand in its module of
`trainables.models.families`. The mathematics is that of `trainables.models.gnn` and the parameters
have the same names, so that `copy_weights` carries weights across and the two can be shown to
predict the same.

Shapes below: nodes N, edges E, graphs G, width W.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GIN, global_add_pool, global_mean_pool
from torch_geometric.transforms import BaseTransform, Compose
from torch_geometric.utils import scatter

from benchmarks.stock_data import RADIAL, ForgetHybridization, GaussianDistances, Pairs
from datasets.errors import InputError
from datasets.graphs import NO_BOND, NODE_FEATURES
from engine.space import Space
from trainables.models import families
from trainables.models.family import Stock
from trainables.models.gnn import GNNConfig

EDGE_FEATURES = RADIAL + NO_BOND


def mirrored() -> list[str]:
    """The families that there are of PyG's own layers too; the others are compared with none."""
    return [family.key for family in families.FAMILIES if family.stock is not None]


def mirrored_space(epochs: int) -> Space:
    """The study's search space, of these families, for a number of epochs."""
    return Space.of(GNNConfig, "family", {"epochs": [epochs], "family": mirrored()})


def counterpart(config: GNNConfig) -> Stock:
    """The family of a configuration, made of PyG's own layers.

    Raises:
        InputError: If there is none.
    """
    if config.chosen.stock is None:
        raise InputError(
            f"{config.family} is not written with PyG's own layers: expected one of "
            f"{', '.join(mirrored())}"
        )
    return config.chosen.stock


def prepared(data: Sequence[Data], config: GNNConfig) -> list[Data]:
    """The molecules as a configuration has them; what is given stays as it is."""
    transforms: list[BaseTransform] = []
    if not config.hybridization:
        transforms.append(ForgetHybridization())
    if config.edges == "distances":
        transforms += [Pairs(config.cutoff), GaussianDistances(config.cutoff)]
    transform = Compose(transforms)
    return [transform(molecule) for molecule in data]


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
        self.body = counterpart(config).body(config, features, edge_features)
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
        self.config = config
        self.body = GIN(NODE_FEATURES + 3, config.width, num_layers=config.depth)
        self.linear = nn.Linear(config.width, 1)

    def forward(self, data: Data) -> Tensor:
        """A batch of `as_data` -> (G,)."""
        assert data.x is not None and data.pos is not None
        x = self.body(torch.cat([data.x, data.pos], dim=1), data.edge_index)  # (N, W)
        return self.linear(global_mean_pool(x, data.batch)).squeeze(dim=1)


HOMEWORK_NAMES = {r"body\.convolutions": "body.convs", r"head\.linear": "linear"}
"""Names of our parameters in `HomeworkGIN`, as patterns, before PyG's names of GIN's."""


def under_stock_names(ours: Mapping[str, Tensor], stock: nn.Module) -> dict[str, Tensor]:
    """Weights or gradients of our `GNN` under the names that the stock model has for them."""
    named = {name: w for name, w in ours.items() if not name.startswith("pair_features.")}
    patterns: Mapping[str, str] = {}
    if isinstance(stock, HomeworkGIN):
        patterns = {**HOMEWORK_NAMES, **counterpart(stock.config).names}
        named = {name: w for name, w in named.items() if name not in ("shift", "scale")}
    elif isinstance(stock, StockGNN) and stock.config.edges == "bonds":
        patterns = counterpart(stock.config).names
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
