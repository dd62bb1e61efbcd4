"""What the contracts of every family compare."""

from typing import Any

import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn

from studies.space import Parameter
from trainables.fit import Epoch

BY_A_CLOCK = ("train/seconds",)
STATED = ("train/seconds", "train/learning_rate")
"""Metrics that differ by themselves where nothing that was learned differs."""


def metrics(epoch: Epoch, without: tuple[str, ...] = BY_A_CLOCK) -> dict[str, float]:
    return {name: value for name, value in epoch.metrics.items() if name not in without}


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def tried(parameter: Parameter) -> tuple[Any, ...]:
    """All choices, or both ends of a range."""
    match parameter.distribution:
        case CategoricalDistribution(choices=choices):
            return choices
        case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
            return (low, high)
    raise TypeError(f"{parameter.key}: {parameter.distribution}")
