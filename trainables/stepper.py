"""A trial's fit, one epoch at a time and saved in between; the same with and without Ray."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainables import checkpoint
from trainables.config import FitConfig
from trainables.device import device_name, memory_gib
from trainables.fit import Diverged, Epoch, Task, fit

TaskFactory = Callable[[Any, torch.device], Task[Any]]
"""Brings a configuration and the study's data together; picklable, data and all."""


@dataclass(frozen=True)
class TrialSpec:
    """What a trial needs to know.

    Attributes:
        number: Its number in the study.
        config: What to fit.
        baseline: Whether it is the default of its family, which is never stopped early.
        resume: Folder of the checkpoint to go on from, if the trial was begun before.
    """

    number: int
    config: FitConfig
    baseline: bool = False
    resume: Path | None = None


class Stepper:
    """One trial's fit.

    Args:
        spec: The trial.
        make_task: See `TaskFactory`.
        device: Where it trains.
    """

    def __init__(self, spec: TrialSpec, make_task: TaskFactory, device: torch.device) -> None:
        self.spec = spec
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.task = make_task(spec.config, device)
        self.latest: Epoch | None = None
        self.go_on_from(spec.resume)

    def go_on_from(self, folder: Path | None) -> None:
        """Continues after the epoch of a checkpoint; None: from the beginning."""
        state = checkpoint.load(folder, self.device) if folder else None
        self.epochs = fit(self.task, self.spec.config, self.device, state)

    def step(self) -> dict[str, Any]:
        """Does one epoch.

        Returns:
            Its metrics, ``epoch``, ``device`` and ``done``; or, where the fit diverged,
            ``failure``, the reason, and ``done``.
        """
        try:
            self.latest = next(self.epochs)
        except Diverged as error:
            self.latest = None  # the weights are past saving
            return {"failure": str(error), "done": True}
        return {
            **self.latest.metrics,
            "memory_gib": memory_gib(self.device),
            "epoch": self.latest.number,
            "device": device_name(self.device),
            "done": self.latest.number == self.spec.config.epochs,
        }

    def save(self, folder: Path) -> None:
        """Writes the state after the latest epoch into a folder, if there was one."""
        if self.latest is not None:
            checkpoint.save(folder, self.latest.state())
