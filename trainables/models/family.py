"""What tells one family of graph neural networks from another, as data.

Each family is one module of `trainables.models.families`, which ends in its `Family`. What is
searched, checked, shown and compared of a family is read off that.

Shapes below: nodes N, edges E, pairs P, width W.
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
"""Makes the body of a network: of a configuration, the number of features of a node, and that of
a pair of neighbours or None."""


@dataclass(frozen=True)
class PublishedR2:
    """A published R² of the dipole moment, on the test molecules of the homework's split of QM9.

    Attributes:
        value: Dimensionless.
        source: Where it stands.
    """

    value: float
    source: str


@dataclass(frozen=True)
class Stock:
    """A family as PyTorch Geometric's documentation teaches to write it, to compare ours with.

    Attributes:
        body: Makes a body of PyG's layers, which takes (N, features), edges (2, E) and their
            vectors (E, 24) or None, and gives (N, W). Its parameters have the names of ours.
        names: For edges without vectors, how our parameters are called in PyG's own layers:
            regular expression -> its replacement.
    """

    body: MakeBody
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """A family of graph neural networks.

    Attributes:
        key: Its name in configurations, on the command line and in records.
        title: Its name as papers write it.
        body: Makes its body, a module that takes (N, features), an `Adjacency` and the vectors of
            the pairs (P, 24) or None, and gives (N, W). The module's ``last``, W -> W, is left to
            the head: a linear layer that may come after a mean over the nodes, or nothing.
        depth: Where the number of convolutions is searched; fewer are not allowed.
        deepest: Most convolutions that are allowed: without residual connections more than a few
            smooth everything out.
        homework: The published homework's configuration, see `trainables.models.homework`.
        further: Field of `BodyConfig` that means something to this family, but not to every
            one -> where it is searched.
        published: A figure that a study's own are set beside; None: there is none.
        stock: The family made of PyG's own layers; None: no benchmark has it.
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


def named(families: Sequence[Family], key: str) -> Family:
    """The family of a key.

    Raises:
        KeyError: If there is none.
    """
    return {family.key: family for family in families}[key]


@dataclass(frozen=True)
class BodyConfig(FitConfig):
    """Hyperparameters of the body of a graph neural network.

    A subclass says of which families: ``class GNNConfig(BodyConfig, families=FAMILIES)``. It
    searches these, each in its own range of depth and of the further fields that it has; the first
    is the default.
    """

    families: ClassVar[tuple[Family, ...]] = ()

    family: str = ""
    """The kind of convolution."""

    depth: int = 3
    """Number of convolutions, at least 2; how many there may be depends on the family."""

    width: Annotated[int, IntDistribution(32, 128, log=True)] = 64
    """Features of a node between the convolutions (with attention: of each head)."""

    heads: int = 2
    """Attention heads, concatenated; the last convolution has one."""

    normalization: Annotated[
        Normalization, CategoricalDistribution(("none", "batch", "layer"))
    ] = "layer"
    """Of the node features: none, over the batch, or over the features of each node."""

    dropout: Annotated[float, FloatDistribution(0.0, 0.3)] = 0.0
    """Share of node features dropped between the convolutions."""

    def __init_subclass__(cls, families: tuple[Family, ...]) -> None:
        super().__init_subclass__()
        cls.families, cls.family = families, families[0].key
        cls.__annotations__ = {**get_annotations(cls), **searched(families)}

    @property
    def chosen(self) -> Family:
        """The family whose key is `family`."""
        return named(self.families, self.family)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("family", self.family, [each.key for each in self.families])
        one_of("normalization", self.normalization, get_args(Normalization))
        least, most = self.chosen.depth.low, self.chosen.deepest
        if not least <= self.depth <= most:
            raise InputError(
                f"depth is {self.depth}: expected {least} to {most} for {self.family}"
            )
        at_least("width", self.width, 1)
        at_least("heads", self.heads, 1)
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}: expected 0 to below 1")


def searched(families: tuple[Family, ...]) -> dict[str, Any]:
    """Annotates the fields of `BodyConfig` that depend on the family, as `trainables.config` says.

    Returns:
        Field -> its type, with where it is searched.
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
    """Each range, and after it the families that share it."""
    return [mark for range_, keys in shared.items() for mark in (range_, When("family", keys))]
