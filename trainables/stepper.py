"""A trial's fit, one epoch at a time and saved in between; the same with and without Ray."""

import time
from collections.abc import Callable
from typing import Any

import torch
from upath import UPath

from datasets.errors import described
from datasets.files import AnyPath
from trainables import checkpoint
from trainables.device import memory_gib, ran_out_of_memory
from trainables.fit import Diverged, Epoch, Task, fit
from trainables.trial_spec import TrialSpec

TaskFactory = Callable[[Any, torch.device], Task[Any]]
"""Brings a configuration and the study's data together; picklable, data and all."""


class Stepper:
    """One trial's fit.

    Args:
        spec: The trial.
        make_task: See `TaskFactory`.
        device: Where it trains.

    Raises:
        Damaged: If the checkpoint to go on from is.
    """

    def __init__(self, spec: TrialSpec, make_task: TaskFactory, device: torch.device) -> None:
        self.spec = spec
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.latest: Epoch | None = None
        self.no_room: str | None = None
        self.history: list[dict[str, Any]] = []
        try:
            self.task = make_task(spec.config, device)
        except (MemoryError, RuntimeError) as error:
            if not ran_out_of_memory(error):
                raise
            self.no_room = described(error)  # the error itself would keep what was made so far
            return
        state = checkpoint.load(UPath(spec.resume), device) if spec.resume else None
        self.history = state["history"] if state else []
        self.epochs = fit(self.task, spec.config, device, state)

    def step(self) -> dict[str, Any]:
        """Does one epoch.

        Returns:
            Its metrics, ``epoch``, ``unix_ms`` when it ended, ``memory_gib`` and ``done``.
            Where the fit has no further epoch: ``done`` and the reason, as ``failure`` if it
            diverged, as ``out_of_memory`` if it asked for more than there is.
        """
        if self.no_room is not None:
            return self._without_result("out_of_memory", self.no_room)
        try:
            self.latest = next(self.epochs)
        except Diverged as error:
            return self._without_result("failure", described(error))
        except (MemoryError, RuntimeError) as error:
            if not ran_out_of_memory(error):
                raise
            return self._without_result("out_of_memory", described(error))
        if not self.history or self.history[-1]["epoch"] < self.latest.number:
            self.history.append(self._row(self.latest))
        return {**self.history[-1], "done": self.latest.number == self.spec.config.epochs}

    def _row(self, epoch: Epoch) -> dict[str, Any]:
        return {
            **epoch.metrics,
            "memory_gib": memory_gib(self.device),
            "epoch": epoch.number,
            "unix_ms": time.time_ns() // 1_000_000,
        }

    def _without_result(self, reason: str, words: str) -> dict[str, Any]:
        self.latest = None  # the weights are past saving
        return {reason: words, "done": True}

    def save(self, folder: AnyPath) -> None:
        """Writes the state after the latest epoch into a folder, if there was one, and with it the
        results of all epochs so far."""
        if self.latest is not None:
            checkpoint.save(folder, {**self.latest.state(), "history": self.history})
