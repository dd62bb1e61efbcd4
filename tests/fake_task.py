"""The trials of the fake study: all that a worker of Ray's imports, to be there soon."""

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
    """What is searched."""

    ending: Annotated[Ending, CategoricalDistribution(get_args(Ending))] = "good"
    """How the trial ends."""

    level: Annotated[float, FloatDistribution(0.0, 1.0)] = 0.5
    """What a good trial reaches."""

    slope: Annotated[float, FloatDistribution(0.0, 1.0), When("ending", ("bad",))] = 0.5
    """Means nothing."""

    seconds: float = 0.0
    """Of each epoch."""

    marker: str = ""
    """A file that stands for the world: a crowded trial finds memory the second time, when the
    file is there; in trouble is one for as long as it is there."""

    @property
    def title(self) -> str:
        return f"{self.ending} {self.level:.3f}"


class FakeTask:
    """Epoch 1 is fine; then the trial ends as its configuration says."""

    def __init__(self, config: FakeConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.epoch = 0
        if config.ending == "no_start":
            raise RuntimeError("planted: the trial does not even begin")

    def model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def steps_per_epoch(self) -> int:
        return 1

    def training_batches(self, generator: torch.Generator, epoch: int) -> Iterator[Tensor]:
        self.epoch = epoch
        time.sleep(self.config.seconds)
        yield torch.rand(1, 1, generator=generator)

    def heaviest_batch(self) -> Tensor:
        return torch.rand(1, 1)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        if self.epoch > 1:
            self._end()
        loss = (model(batch) ** 2).sum()
        if self.epoch > 1 and self.config.ending == "non_finite":
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
            case "system_error" if marker.exists():
                code = int(marker.read_text())
                raise OSError(code, os.strerror(code), str(marker))

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        weight = float(next(model.parameters()).detach().abs().sum()) % 1e-4
        good = self.config.level + 1e-3 * self.epoch + weight
        return {"validation/score": good if self.config.ending != "bad" else good - 100}
