"""The search space of the recorded proposals, an old version of that of graph neural networks.

It must not follow changes of `trainables.models.gnn`, because the recordings in
tests/data/proposals were drawn from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from engine.space import Space
from trainables.config import When

FAMILIES = ("gcn", "gat", "sage", "gin", "deepgcn")


@dataclass(frozen=True)
class RecordedConfig:
    """Hyperparameters, ranges, conditions and defaults at the time of the recordings."""

    learning_rate: Annotated[float, FloatDistribution(3e-4, 1e-2, log=True)] = 2e-3
    schedule: Annotated[str, CategoricalDistribution(("constant", "cosine"))] = "cosine"
    weight_decay: Annotated[float, FloatDistribution(1e-6, 1e-1, log=True)] = 1e-4
    batch_size: Annotated[int, CategoricalDistribution((32, 64, 128))] = 64
    epochs: int = 15
    seed: int = 0
    family: Annotated[str, CategoricalDistribution(FAMILIES)] = "gcn"
    depth: Annotated[
        int,
        IntDistribution(2, 6),
        When("family", ("gcn", "gat", "sage", "gin")),
        IntDistribution(2, 28, log=True),
        When("family", ("deepgcn",)),
    ] = 3
    width: Annotated[int, IntDistribution(32, 128, log=True)] = 64
    heads: Annotated[int, IntDistribution(1, 4), When("family", ("gat",))] = 2
    normalization: Annotated[str, CategoricalDistribution(("none", "batch", "layer"))] = "layer"
    dropout: Annotated[float, FloatDistribution(0.0, 0.3)] = 0.0
    edges: Annotated[str, CategoricalDistribution(("bonds", "distances"))] = "distances"
    cutoff: Annotated[float, FloatDistribution(2.0, 6.0), When("edges", ("distances",))] = 4.0
    head: Annotated[str, CategoricalDistribution(("mean", "dipole"))] = "dipole"
    standardize: bool = True

    @property
    def title(self) -> str:
        return f"{self.family} {self.depth}x{self.width}"


def published(family: str) -> Mapping[str, Any]:
    """Returns a baseline of a family that differs from the defaults; it sets ``standardize``,
    which is never searched."""
    return {"standardize": False, "dropout": 0.1, "edges": "bonds", "normalization": "none"}


def recorded_space(baseline: bool) -> Space:
    """Makes the search space, with the baselines of `published` or, if not `baseline`, with the
    defaults as baselines."""
    reference = published if baseline else None
    return Space.of(RecordedConfig, "family", {}, reference=reference)  # pyright: ignore[reportArgumentType]
