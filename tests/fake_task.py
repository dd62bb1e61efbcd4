"""The configuration and the task of the fake study.

Ray workers import only this module, to start fast.
"""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from torch import Tensor, nn

from trainables.config import FitConfig, When

Ending = Literal[
    "good",
    "bad",
    "non_finite",
    "raises",
    "dies",
    "no_start",
    "memory",
    "crowded",
    "stuck",
    "system_error",
]


@dataclass(frozen=True)
class FakeConfig(FitConfig):
    """Hyperparameters of the fake study."""

    ending: Annotated[Ending, CategoricalDistribution(get_args(Ending))] = "good"
    """Ending of the trial."""

    level: Annotated[float, FloatDistribution(0.0, 1.0)] = 0.5
    """Approximate score that a good trial reaches."""

    slope: Annotated[float, FloatDistribution(0.0, 1.0), When("ending", ("bad",))] = 0.5
    """Parameter without effect."""

    seconds: float = 0.0
    """Duration of each epoch, in seconds."""

    marker: str = ""
    """File that stands for the state of the machine. A trial with the ending ``crowded`` creates
    it and runs out of memory if it does not exist; one with ``system_error`` raises an OSError
    with the error number in the file for as long as it exists; a good one with seed 3 waits for
    it: `fake_scorecard` creates it when it scores a trial."""

    @property
    def title(self) -> str:
        return f"{self.ending} {self.level:.3f}"


class FakeTask:
    """A task whose first epoch succeeds, after which the trial ends as its configuration says."""

    def __init__(self, config: FakeConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.epoch = 0
        self.is_probed = False
        if config.ending == "no_start":
            raise RuntimeError("planted: the trial does not even begin")

    def model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def steps_per_epoch(self) -> int:
        return 1

    def training_batches(
        self, model: nn.Module, generator: torch.Generator, epoch: int
    ) -> Iterator[Tensor]:
        del model
        self.epoch = epoch
        time.sleep(self.config.seconds)
        yield torch.rand(1, 1, generator=generator)

    def heaviest_batch(self, model: nn.Module) -> Tensor:
        """Returns a batch; only a probe asks for it, and a probe always ends well."""
        del model
        self.is_probed = True
        return torch.rand(1, 1)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        ends = self.epoch > 1 and not self.is_probed
        if ends:
            self._end()
        loss = (model(batch) ** 2).sum()
        if ends and self.config.ending == "non_finite":
            loss = loss * torch.nan
        return loss

    def _end(self) -> None:
        marker = Path(self.config.marker)
        match self.config.ending:
            case "raises":
                raise RuntimeError("planted: the trial raises")
            case "dies":
                print("planted: last words", file=sys.stderr, flush=True)
                os._exit(1)
            case "memory":
                torch.empty(2**48)
            case "crowded" if not marker.exists():
                marker.touch()
                raise torch.OutOfMemoryError("CUDA out of memory: planted")
            case "stuck":
                time.sleep(3600)
            case "good" if self.config.marker and self.config.seed == 3:
                _await(marker)
            case "system_error" if marker.exists():
                code = int(marker.read_text())
                raise OSError(code, os.strerror(code), str(marker))

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        weight = float(next(model.parameters()).detach().abs().sum()) % 1e-4
        good = self.config.level + 1e-3 * self.epoch + weight
        return {"validation/score": good if self.config.ending != "bad" else good - 100}


def _await(marker: Path) -> None:
    """Waits for a file, for at most a minute.

    Raises:
        TimeoutError: If it does not come.
    """
    end = time.monotonic() + 60
    while not marker.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"planted: {marker} did not come")
        time.sleep(0.02)
