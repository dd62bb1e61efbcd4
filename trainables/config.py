"""Hyperparameters as frozen dataclasses that define both the search space and the command line.

A field's annotation carries its search range as an Optuna distribution; its name is the Optuna
key, the MLflow param and the command-line flag; its docstring is the flag's help. A field without
a distribution is never searched, only set.

    width: Annotated[int, IntDistribution(32, 128, log=True)] = 64
    heads: Annotated[int, IntDistribution(1, 4), When("family", ("gat",))] = 2
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

from optuna.distributions import CategoricalDistribution, FloatDistribution

from datasets.errors import InputError

METRIC = re.compile(r"[\w.\- :]+(/[\w.\- :]+)+")
"""What the name of a metric looks like, ``split/metric``; MLflow refuses other characters."""

Schedule = Literal["constant", "cosine"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class When:
    """Marks a field that applies only if another field has one of the given values.

    Otherwise the field keeps its default and is not searched.

    Attributes:
        field: Name of the other field.
        values: Values of the other field with which the marked field applies.
    """

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class TrialConfig:
    """Hyperparameters that every trial has; the engine needs no others."""

    epochs: int = 15
    """Number of epochs of a trial; the study defines what an epoch is."""

    seed: int = 0
    """Seed of all random numbers that a trial draws."""

    @property
    def title(self) -> str:
        """Short label of a trial in output; by default the values of all searched fields."""
        return _shown(self, _searched(type(self)))

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        at_least("seed", self.seed, 0)


@dataclass(frozen=True)
class FitConfig(TrialConfig):
    """Hyperparameters of training any network with AdamW."""

    learning_rate: Annotated[float, FloatDistribution(3e-4, 1e-2, log=True)] = 2e-3
    """Peak step size of AdamW."""

    schedule: Annotated[Schedule, CategoricalDistribution(("constant", "cosine"))] = "cosine"
    """Learning-rate schedule after the warm-up: constant, or half a cosine down to 0."""

    warmup: float = 0.1
    """Share of all steps during which the learning rate first rises linearly to its peak."""

    weight_decay: Annotated[float, FloatDistribution(1e-6, 1e-1, log=True)] = 1e-4
    """Decoupled weight decay of AdamW (Loshchilov and Hutter 2019)."""

    gradient_clip: float = 1.0
    """Largest norm of the gradient; a larger gradient is scaled down to it. 0: no clipping."""

    averaging: float = 0.02
    """Share of all steps over which the weights are averaged exponentially; the averaged weights
    make the predictions. 0: no averaging."""

    batch_size: Annotated[int, CategoricalDistribution((32, 64, 128))] = 64
    """Number of samples in one optimiser step."""

    epochs: int = 15
    """Number of passes over the train split; the weights after the last one are the result."""

    precision: Precision = "float32"
    """Number format of the forward pass in training: float32, or bfloat16 in the operations for
    which PyTorch's autocast uses it, which is faster on a GPU. Predictions always use float32."""

    seed: int = 0
    """Seed of the initial weights, the order of the samples and all other random numbers."""

    @property
    def title(self) -> str:
        """What tells one trial from another at a glance: by default all that is searched and that
        not every fit has; the learning rate where there is nothing else."""
        every = _searched(FitConfig)
        own = [name for name in _searched(type(self)) if name not in every]
        return _shown(self, own) or f"{self.learning_rate:.1e}"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("schedule", self.schedule, get_args(Schedule))
        one_of("precision", self.precision, get_args(Precision))
        for share in ("warmup", "averaging"):
            if not 0 <= getattr(self, share) < 1:
                raise InputError(f"{share} is {getattr(self, share)}: expected 0 to below 1")
        at_least("gradient_clip", self.gradient_clip, 0)
        at_least("learning_rate", self.learning_rate, 0, open_end=True)
        at_least("weight_decay", self.weight_decay, 0)
        at_least("batch_size", self.batch_size, 1)


def _searched(kind: type[TrialConfig]) -> list[str]:
    """Fields that are searched, in their order."""
    hints = get_type_hints(kind, include_extras=True)
    return [name for name, hint in hints.items() if get_origin(hint) is Annotated]


def _shown(config: TrialConfig, names: Sequence[str]) -> str:
    values = [getattr(config, name) for name in names]
    return " ".join(f"{each:.3g}" if isinstance(each, float) else str(each) for each in values)


def at_least(name: str, value: float, least: float, *, open_end: bool = False) -> None:
    """Checks that a value is finite and not below a lower bound.

    Raises:
        InputError: If the value is below the bound, equal to it with `open_end`, or not finite.
    """
    if not math.isfinite(value) or value < least or (open_end and value == least):
        relation = "above" if open_end else "at least"
        raise InputError(f"{name} is {value}: expected {relation} {least}")


def one_of(name: str, value: str, choices: Sequence[str]) -> None:
    """Checks that a value is one of the allowed choices.

    Raises:
        InputError: If the value is not one of the choices.
    """
    if value not in choices:
        raise InputError(f"{name} is {value!r}: expected one of {', '.join(choices)}")
