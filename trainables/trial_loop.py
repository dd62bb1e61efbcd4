"""A trial, one epoch at a time and saved in between; the same with and without Ray."""

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
from trainables import checkpoint
from trainables.device import memory_gib, ran_out_of_memory
from trainables.learner import Diverged, Learner, Snapshot, check_learner
from trainables.problem import Context, Problem
from trainables.trial_spec import TrialSpec


@dataclass(frozen=True)
class Failed:
    """The trial has no further epoch: it failed, and would again."""

    reason: str


@dataclass(frozen=True)
class OutOfMemory:
    """The trial has no further epoch: it asked for more memory than there was."""

    reason: str


class TrialLoop:
    """One trial's learner, and the epochs that it has done.

    Args:
        spec: The trial.
        problem: What it learns from.
        device: Where it trains.

    Attributes:
        history: A row for each epoch: its metrics, ``epoch``, ``unix_ms`` when it ended, and
            ``memory_gib``.

    Raises:
        Damaged: If the checkpoint to go on from is.
        InputError: If the problem gives no learner.
    """

    def __init__(self, spec: TrialSpec, problem: Problem[Any], device: torch.device) -> None:
        self.spec = spec
        self.device = device
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
        context = Context(self.device, torch.get_num_threads())
        learner = problem.learner(self.spec.config, self.spec.role, context)
        check_learner(learner)
        if self.spec.resume:
            state = checkpoint.load(UPath(self.spec.resume))
            learner.restore(Snapshot(state["model"], state["training"]))
            self.history = state["history"]
        return learner

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    def step(self) -> Mapping[str, Any] | Failed | OutOfMemory:
        """Does one epoch.

        Returns:
            Its row, see `history`; or why there is none.

        Raises:
            InputError: If what the learner gives is no metrics.
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
        """What was learned is past saving."""
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
        """Writes the state after the latest epoch into a folder, and with it all epochs so far;
        nothing before the first epoch, or after a failure."""
        if self.learner is None or not self.history:
            return
        snapshot = self.learner.snapshot()
        config = asdict(self.spec.config)
        checkpoint.save(folder, checkpoint.state_of(snapshot, config, self.history))


def _no_room(error: BaseException) -> OutOfMemory:
    """The error in words, as the error itself would keep the tensors made so far.

    Raises:
        BaseException: The error, if it is another one.
    """
    if not ran_out_of_memory(error):
        raise error
    return OutOfMemory(described(error))


def _checked(metrics: Mapping[str, float], epoch: int) -> dict[str, float]:
    """Metrics as plain numbers.

    Raises:
        Diverged: If one of them is not finite.
        InputError: If one is no number, or its name no ``split/metric``.
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
    if not isinstance(name, str) or not all(name.partition("/")):
        example = f"validation/{str(name).strip('/')}"
        raise InputError(f"metric {name!r}: expected split/metric, such as {example}")
    return name


def _number(name: str, value: Any) -> float:
    is_single = not isinstance(value, torch.Tensor) or value.numel() == 1
    with suppress(TypeError, ValueError):
        if is_single:
            return float(value)
    raise InputError(f"metric {name!r} is a {type(value).__name__}: expected one number")
