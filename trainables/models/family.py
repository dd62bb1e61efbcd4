"""Describes families of graph neural networks, such as GCN and GAT, as data.

Each family is one module of `trainables.models.families` that defines a `Family`. Its search
space, checks, titles and comparisons are derived from that.

Shapes in this module: nodes N, edges E, pairs P, width W.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import get_annotations
from typing import Annotated, Any, ClassVar, Literal, get_args

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import nn

from datasets.errors import InputError
from trainables.config import FitConfig, When, at_least, one_of
from trainables.models.norms import Normalization

MakeBody = Callable[["BodyConfig", int, int | None], nn.Module]
"""Function that makes the body of a network from a configuration, the number of features of a
node, and the number of features of a pair of neighbours, or None if edges have no features."""


@dataclass(frozen=True)
class PublishedR2:
    """A published R² of the dipole moment, on the test molecules of the homework's split of QM9.

    Attributes:
        value: R², dimensionless.
        source: Publication that reports it.
    """

    value: float
    source: str


@dataclass(frozen=True)
class Stock:
    """A family written as in PyTorch Geometric's documentation, for tests and benchmarks.

    Attributes:
        body: Function that makes a body of PyG's layers. The body takes node features
            (N, features), edges (2, E) and their vectors (E, 24) or None, and returns (N, W). Its
            parameters have the same names as those of the family's own body.
        names: Regular expression -> replacement, which turn the names of the own body's parameters
            into those of PyG's layers for edges without vectors.
    """

    body: MakeBody
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """A family of graph neural networks.

    Attributes:
        key: Name of the family in configurations, on the command line and in records.
        title: Name of the family in the literature.
        body: Function that makes the family's body, a module that takes node features
            (N, features), an `Adjacency` and the vectors of the pairs (P, 24) or None, and returns
            (N, W), or, if `has_vectors`, (N, W / 2) and (N, 3, W / 2). The head applies the
            module's ``last``, which keeps the shape, to the result: the identity or a linear
            layer, which may also be applied after averaging over the nodes.
        depth: Search range of the number of convolutions; its lower end is the allowed minimum.
        deepest: Largest allowed number of convolutions; without residual connections, more than a
            few over-smooth the node features.
        homework: Configuration of the published homework, see `trainables.models.homework`.
        further: Search ranges of `BodyConfig` fields that apply to this family but not to all.
        published: Published result to compare with; None if there is none.
        stock: The family in PyG's own layers, for benchmarks; None if there is none.
        has_vectors: Whether half of a node's features are vectors, which turn with the molecule;
            the dipole head then makes its atomic dipoles of them.
    """

    key: str
    title: str
    body: MakeBody
    depth: IntDistribution
    deepest: int
    homework: Mapping[str, Any]
    further: Mapping[str, BaseDistribution] = field(default_factory=dict)
    published: PublishedR2 | None = None
    stock: Stock | None = None
    has_vectors: bool = False


def named(families: Sequence[Family], key: str) -> Family:
    """Returns the family with a given key.

    Raises:
        KeyError: If no family has the key.
    """
    return {family.key: family for family in families}[key]


@dataclass(frozen=True)
class BodyConfig(FitConfig):
    """Hyperparameters of the body of a graph neural network.

    A subclass names the families to search: ``class GNNConfig(BodyConfig, families=FAMILIES)``.
    Each family has its own search ranges of depth and of its further fields; the first family is
    the default.
    """

    families: ClassVar[tuple[Family, ...]] = ()

    family: str = ""
    """Family of graph neural networks, which determines the kind of convolution."""

    depth: int = 3
    """Number of convolutions, at least 2; the allowed maximum depends on the family."""

    width: Annotated[int, IntDistribution(32, 128, log=True)] = 64
    """Number of features of a node between the convolutions (with attention: in each head).
    Where the family has vectors, half of them are."""

    heads: int = 2
    """Number of attention heads, whose outputs are concatenated; the last convolution has one."""

    normalization: Annotated[
        Normalization, CategoricalDistribution(("none", "batch", "layer"))
    ] = "layer"
    """Normalisation of the node features: none, batch normalisation, or layer normalisation over
    the features of each node."""

    dropout: Annotated[float, FloatDistribution(0.0, 0.3)] = 0.0
    """Dropout: share of node features set to zero between the convolutions in training."""

    def __init_subclass__(cls, families: tuple[Family, ...]) -> None:
        super().__init_subclass__()
        cls.families, cls.family = families, families[0].key
        cls.__annotations__ = {**get_annotations(cls), **searched(families)}

    @property
    def chosen(self) -> Family:
        """The family whose key is `family`."""
        return named(self.families, self.family)

    @property
    def scalars(self) -> int:
        """Number of features of a node that are numbers, not vectors."""
        return self.width // 2 if self.chosen.has_vectors else self.width

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("family", self.family, [each.key for each in self.families])
        one_of("normalization", self.normalization, get_args(Normalization))
        least, most = self.chosen.depth.low, self.chosen.deepest
        if not least <= self.depth <= most:
            raise InputError(
                f"depth is {self.depth}: expected {least} to {most} for {self.family}"
            )
        at_least("width", self.width, 2 if self.chosen.has_vectors else 1)
        at_least("heads", self.heads, 1)
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}: expected 0 to below 1")


def searched(families: tuple[Family, ...]) -> dict[str, Any]:
    """Makes annotations for the fields of `BodyConfig` whose search ranges depend on the family.

    Returns:
        Field name -> its type, annotated with distributions and `trainables.config.When` marks.
    """
    keys = tuple(each.key for each in families)
    kinds = get_annotations(BodyConfig)
    ranges: dict[str, dict[BaseDistribution, tuple[str, ...]]] = {}
    for family in families:
        for name, distribution in {"depth": family.depth, **family.further}.items():
            shared = ranges.setdefault(name, {})
            shared[distribution] = (*shared.get(distribution, ()), family.key)
    return {
        "family": Annotated[Literal[keys], CategoricalDistribution(keys)],
        **{name: Annotated[kinds[name], *_marks(shared)] for name, shared in ranges.items()},
    }


def _marks(shared: Mapping[BaseDistribution, tuple[str, ...]]) -> list[BaseDistribution | When]:
    """Lists each distribution, followed by a mark with the families that share it."""
    return [mark for range_, keys in shared.items() for mark in (range_, When("family", keys))]
