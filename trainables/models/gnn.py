"""Graph neural networks that predict one number for each molecule.

The families are those of `trainables.models.families`. Edges are either the bonds, without
features, as in the homework, or all pairs of atoms within a cutoff, each with a vector of its
distance and bond type. Each family's module describes how its convolution uses that vector.

Shapes in this module: nodes N, pairs P, graphs G, width W, scalars F.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from torch import Tensor, nn

from datasets.dense_graphs import DenseBatch
from datasets.errors import InputError
from datasets.graphs import NODE_FEATURES
from datasets.standardize import Standardizer
from datasets.stores import Batch
from trainables.config import Schedule, When, at_least, one_of
from trainables.models import families
from trainables.models.adjacency import Adjacency
from trainables.models.dense_neighbours import DenseNeighbours
from trainables.models.family import BodyConfig, named
from trainables.models.heads import DipoleHead, MeanHead
from trainables.models.neighbours import Neighbours
from trainables.models.pair_features import PAIR_FEATURES, PairFeatures

Edges = Literal["bonds", "distances"]
Head = Literal["mean", "dipole"]
Loss = Literal["squared", "huber", "mixed"]

CHARGES = 5.0
"""Factor of a partial charge, in elementary charges, as a node feature: the largest are about 1
then."""

OF_CORRECTION = 0.1
"""Factor of the initial weights of the dipole head's last layer where it corrects a prior, whose
error is about a tenth of the moment."""

HYBRIDIZATION = slice(6, 10)
"""Columns of the node features: aromatic, sp, sp2, sp3."""


@dataclass(frozen=True)
class GNNConfig(BodyConfig, families=families.FAMILIES):
    """Hyperparameters of a graph neural network regressor."""

    schedule: Annotated[Schedule, CategoricalDistribution(get_args(Schedule))] = "constant"
    """Learning-rate schedule after the warm-up: constant, or half a cosine down to 0. As the
    scored weights are an average over the last steps, a constant rate gives the better results
    in each family (docs/search.md)."""

    edges: Annotated[Edges, CategoricalDistribution(("bonds", "distances"))] = "distances"
    """Edges of the graph: bonds, without features, or all pairs of atoms within the cutoff, with
    distance and bond type."""

    cutoff: Annotated[float, FloatDistribution(2.0, 6.0), When("edges", ("distances",))] = 4.0
    """Longest distance edge, in Angstrom."""

    head: Annotated[Head, CategoricalDistribution(("mean", "dipole"))] = "dipole"
    """Output of the network: the mean over the nodes and a linear layer, or the norm of a dipole
    moment made of atomic charges that sum to zero and of atomic dipoles."""

    delta: bool = False
    """Whether the network corrects the prior of the molecules (`datasets.prior`): its vector is
    added inside the norm of the dipole head, and its charges are a feature of the nodes."""

    loss: Annotated[Loss, CategoricalDistribution(get_args(Loss))] = "squared"
    """Loss of an error, in standard deviations of the target: squared; huber, half the square up
    to 0.05 and linear from there, times 10; or mixed, huber plus 0.3 of squared."""

    standardize: bool = True
    """Whether the model predicts in units of the train split's standard deviation."""

    hybridization: bool = True
    """Whether aromaticity and hybridisation are node features. In PyG's published QM9, on which
    the homework trains, they are zero (pyg-team/pytorch_geometric#8370)."""

    raw_positions: bool = False
    """Whether the raw coordinates are node features, as in the homework; predictions are then not
    invariant to rotations of the molecule."""

    @property
    def title(self) -> str:
        return f"{self.family} {self.depth}x{self.width} {self.edges} {self.head}"

    @property
    def pair_cutoff(self) -> float | None:
        """Largest distance of two atoms that share an edge, in Angstrom, as
        `datasets.graphs.GraphStore` takes it; None: the bonds are the edges."""
        return self.cutoff if self.edges == "distances" else None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("edges", self.edges, get_args(Edges))
        one_of("head", self.head, get_args(Head))
        one_of("loss", self.loss, get_args(Loss))
        at_least("cutoff", self.cutoff, 0, open_end=True)
        if self.delta and self.head != "dipole":
            raise InputError(f"delta is true, and head is {self.head}: expected dipole")


def homework(family: str) -> Mapping[str, Any]:
    """Returns the published homework's configuration of a family, as `GNNConfig` fields."""
    return {"family": family, **named(families.FAMILIES, family).homework}


class GNN(nn.Module):
    """A graph neural network of convolutions and a head; predicts in the unit of the target.

    Args:
        config: Architecture.
        scale: Factor (std) and, with the mean head, offset (mean) of the network's output. The
            dipole head has no offset, so that zero charges give a dipole moment of zero.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, config: GNNConfig, scale: Standardizer) -> None:
        super().__init__()
        self.hybridization = config.hybridization
        self.raw_positions = config.raw_positions
        self.delta = config.delta
        features = NODE_FEATURES + 3 * config.raw_positions + config.delta
        with_edges = config.edges == "distances"
        self.pair_features = PairFeatures(config.cutoff) if with_edges else None
        self.body = config.chosen.body(config, features, PAIR_FEATURES if with_edges else None)
        self.has_vectors = config.chosen.has_vectors
        if config.head == "dipole":
            moments = PAIR_FEATURES if with_edges else 1
            vectors = config.scalars if self.has_vectors else moments
            self.head = DipoleHead(config.scalars, vectors, OF_CORRECTION if config.delta else 1.0)
        else:
            self.head = MeanHead(config.scalars)
        self.register_buffer("shift", torch.tensor(scale.mean * (config.head == "mean")))
        self.register_buffer("scale", torch.tensor(scale.std))

    def forward(self, batch: Batch) -> Tensor:
        """Predicts the target of each graph, (G,), in the unit of the target."""
        x = batch.node_features
        if not self.hybridization:
            x = x.clone()
            x[:, HYBRIDIZATION] = 0
        if self.raw_positions:
            x = torch.cat([x, batch.positions], dim=1)
        if self.delta:
            assert batch.charges is not None and batch.prior is not None
            x = torch.cat([x, CHARGES * batch.charges.to(x.dtype)], dim=1)
        near = adjacency_of(batch)
        pairs = None if self.pair_features is None else self.pair_features(near)  # (P, 24)
        x, vectors = self._bodily(x, near, pairs)
        # In half precision, sums of charges times positions would depend on the origin.
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.scale.dtype)
            if isinstance(self.head, MeanHead):
                return self.shift + self.scale * self.head(x, self.body.last, near)
            vectors = near.moments(pairs) if vectors is None else vectors.to(x.dtype)
            known = batch.prior / self.scale if self.delta else None  # pyright: ignore[reportOptionalOperand]
            return self.scale * self.head(x, self.body.last, near, vectors, known)

    def _bodily(
        self, x: Tensor, near: Adjacency, pairs: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Returns what the body makes of node features: scalars, (N, F), and vectors, (N, 3, F),
        or (N, W) and None."""
        made = self.body(x, near, pairs)
        return made if self.has_vectors else (made, None)


def adjacency_of(batch: Batch) -> Adjacency:
    """Makes the adjacency of a batch: dense for a padded batch, else with edge lists."""
    if isinstance(batch, DenseBatch):
        return DenseNeighbours.of(batch)
    return Neighbours.of(batch)
