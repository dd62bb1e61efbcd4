"""Helpers of the contract tests of model families.

The contracts run on the CPU, on a pretended GPU and, if the machine has one, on a real GPU.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pretended_gpu import CPU, GPU, PretendedGPU, pretended_gpu
from real_gpu import RealGPU, real_gpu, skip_without_one
from torch import Tensor, nn

from trainables import checkpoint
from trainables.config import FitConfig
from trainables.fit import Epoch, SupervisedLearner, TaskFactory
from trainables.learner import Snapshot
from trainables.parameter import Parameter

SomeGPU = Callable[[], AbstractContextManager[PretendedGPU | RealGPU]]
"""Function that makes a context manager which sets up a pretended or real GPU for a test."""

_device = CPU
_real = False


def here() -> torch.device:
    """Returns the device on which the current test trains."""
    return _device


def on_a_real_gpu() -> bool:
    """Returns whether the current test trains on a real GPU."""
    return _real


def some_gpu(monkeypatch: pytest.MonkeyPatch, *, real: bool) -> SomeGPU:
    """Returns the function that sets up a pretended or a real GPU; skips the test if a real one is
    wanted but missing."""
    if not real:
        return partial(pretended_gpu, monkeypatch)
    skip_without_one()
    return real_gpu


@contextmanager
def on_a_gpu(monkeypatch: pytest.MonkeyPatch, *, real: bool = False) -> Iterator[None]:
    """Makes the current test train on a GPU, and checks at the end that no operation mixed tensors
    of both devices."""
    global _device, _real
    with some_gpu(monkeypatch, real=real)() as gpu:
        _device, _real = GPU, real
        try:
            yield
        finally:
            _device, _real = CPU, False
    assert not gpu.mixed, gpu.mixed


def waits_of_a_step(
    make_task: TaskFactory, config: FitConfig, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Returns the lines at which the processor waits for the GPU during one training step.

    Making the batch is part of the step; work done once an epoch or once a fit is not.

    Raises:
        AssertionError: If an operation mixes tensors of both devices.
    """
    with some_gpu(monkeypatch, real=_real)() as gpu:
        task = make_task(config, GPU)
        learner = SupervisedLearner(task, config, GPU)
        learner.model.train()
        batches = task.training_batches(learner.model, learner.order, 1)
        for _ in range(2):  # a real GPU's second step may be captured
            learner._step(next(batches))
        before = len(gpu.waits)
        learner._step(next(batches))
        waits = gpu.waits[before:]
    assert not gpu.mixed, gpu.mixed
    return waits


BY_A_CLOCK = ("train/seconds",)
STATED = ("train/seconds", "train/learning_rate")
"""Metrics that may differ although the fits are equal: measured times, and values that follow
from the configuration alone."""


def metrics(epoch: Epoch, without: tuple[str, ...] = BY_A_CLOCK) -> dict[str, float]:
    return {name: value for name, value in epoch.metrics.items() if name not in without}


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def save(folder: Path, epoch: Epoch, config: FitConfig) -> None:
    """Writes the checkpoint of a trial after an epoch into a folder."""
    rows = [{"epoch": number} for number in range(1, epoch.number + 1)]
    checkpoint.save(folder, checkpoint.state_of(epoch.snapshot(), asdict(config), rows))


def where_it_was_left(folder: Path) -> dict[str, Any]:
    """Loads a checkpoint and returns the arguments with which `fit` resumes from it."""
    state = checkpoint.load(folder)
    return {"done": state["epoch"], "snapshot": Snapshot(state["model"], state["training"])}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def tried(parameter: Parameter) -> tuple[Any, ...]:
    """Returns the values of a parameter to test: all choices, or both ends of a range."""
    match parameter.distribution:
        case CategoricalDistribution(choices=choices):
            return choices
        case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
            return (low, high)
    raise TypeError(f"{parameter.key}: {parameter.distribution}")
