"""Trains a trial one epoch at a time and saves checkpoints in between, with or without Ray."""

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch
from upath import UPath

from datasets.errors import InputError, described
from datasets.files import AnyPath
from datasets.parallel import ParallelMap
from trainables import checkpoint
from trainables.config import METRIC
from trainables.device import memory_gib, ran_out_of_memory
from trainables.learner import Diverged, Learner, Snapshot, check_learner
from trainables.problem import Context, Problem
from trainables.trial_spec import TrialSpec


@dataclass(frozen=True)
class Failed:
    """Outcome of a trial that ended because its training failed, and would fail again.

    Attributes:
        reason: Message of the error.
    """

    reason: str


@dataclass(frozen=True)
class OutOfMemory:
    """Outcome of a trial that ended because memory ran out.

    Attributes:
        reason: Message of the error.
    """

    reason: str


class TrialLoop:
    """The learner of one trial and the epochs that it has completed.

    Args:
        spec: The trial to train.
        problem: The study's problem, from which the learner is made.
        device: Device to train on.
        parallel: Map that the learner may use; see `trainables.problem.Context`.

    Attributes:
        history: A row for each epoch: its metrics, its number ``epoch``, its end ``unix_ms`` in
            milliseconds, and ``memory_gib``.

    Raises:
        Damaged: If the checkpoint to resume from is damaged.
        InputError: If the problem returns something that is no learner.
    """

    def __init__(
        self,
        spec: TrialSpec,
        problem: Problem[Any],
        device: torch.device,
        parallel: ParallelMap = map,
    ) -> None:
        self.spec = spec
        self.device = device
        self.parallel = parallel
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.history: list[dict[str, Any]] = []
        self.learner: Learner | None = None
        self.over: Failed | OutOfMemory | None = None
        try:
            self.learner = self._begun(problem)
        except (MemoryError, OSError, RuntimeError) as error:
            self.over = _no_room(error)

    def _begun(self, problem: Problem[Any]) -> Learner:
        context = Context(self.device, torch.get_num_threads(), self.parallel)
        learner = problem.learner(self.spec.config, self.spec.role, context)
        check_learner(learner)
        if self.spec.resume:
            state = checkpoint.load(UPath(self.spec.resume))
            learner.restore(Snapshot(state["model"], state["training"]))
            self.history = state["history"]
        return learner

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return len(self.history)

    def step(self) -> Mapping[str, Any] | Failed | OutOfMemory:
        """Trains one epoch.

        Returns:
            The epoch's row, see `history`, or the reason why the trial has ended.

        Raises:
            InputError: If the learner returns something that is no metrics.
        """
        if self.learner is None:
            assert self.over is not None
            return self.over
        try:
            metrics = _checked(self.learner.advance(self.epoch + 1), self.epoch + 1)
        except Diverged as error:
            return self._end(Failed(described(error)))
        except (MemoryError, OSError, RuntimeError) as error:
            return self._end(_no_room(error))
        self.history.append(self._row(metrics))
        return self.history[-1]

    def _end(self, why: Failed | OutOfMemory) -> Failed | OutOfMemory:
        """Ends the trial and drops its learner, whose state is no longer usable."""
        self.learner, self.over = None, why
        return why

    def _row(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        return {
            **metrics,
            "memory_gib": memory_gib(self.device),
            "epoch": self.epoch + 1,
            "unix_ms": time.time_ns() // 1_000_000,
        }

    def save(self, folder: AnyPath) -> None:
        """Writes a checkpoint after the latest epoch, with the history, into a folder.

        Nothing is written before the first epoch or after a failure.
        """
        if self.learner is None or not self.history:
            return
        snapshot = self.learner.snapshot()
        config = asdict(self.spec.config)
        checkpoint.save(folder, checkpoint.state_of(snapshot, config, self.history))


def _no_room(error: BaseException) -> OutOfMemory:
    """Converts an out-of-memory error to its message, because the error itself would keep tensors
    alive.

    Raises:
        BaseException: The error itself, if it is of another kind.
    """
    if not ran_out_of_memory(error):
        raise error
    return OutOfMemory(described(error))


def _checked(metrics: Mapping[str, float], epoch: int) -> dict[str, float]:
    """Converts metrics to plain floats.

    Raises:
        Diverged: If a metric is not finite.
        InputError: If a metric is no number, or its name is not ``split/metric``.
    """
    if not isinstance(metrics, Mapping):
        raise InputError(
            f"advance() gave a {type(metrics).__name__}: expected metrics by name, such as "
            "{'validation/height': 8.8}"
        )
    plain = {_checked_name(name): _number(name, value) for name, value in metrics.items()}
    for name, value in plain.items():
        if not math.isfinite(value):
            raise Diverged(f"{name} is {value} after epoch {epoch}")
    return plain


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not METRIC.fullmatch(name):
        raise InputError(
            f"metric {name!r}: expected split/metric, such as validation/score, of letters, "
            "digits, spaces and _ - . :"
        )
    return name


def _number(name: str, value: Any) -> float:
    is_single = not isinstance(value, torch.Tensor) or value.numel() == 1
    with suppress(TypeError, ValueError):
        if is_single:
            return float(value)
    raise InputError(f"metric {name!r} is a {type(value).__name__}: expected one number")
