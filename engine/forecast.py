"""Pre-flight: profiles extreme configurations and forecasts a study's time, memory and disk.

Three configurations are profiled for each compared value: the smallest, the default and the
largest. The cost of any other configuration is taken to lie between these.
"""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from datasets.errors import InputError
from datasets.files import AnyPath
from engine.space import Space
from trainables import checkpoint
from trainables.config import TrialConfig
from trainables.profile import ProfileResult

SIZES = ("smallest", "default", "largest")

ROW_BYTES = 3_000
"""Bytes of one epoch in the log and MLflow's database; measured: 2,900, for 15-epoch trials."""


def profiled_configurations(space: Space) -> list[TrialConfig]:
    """Returns the configurations to profile, smallest first, without duplicates."""
    by_size = [[_of_size(space, value, size) for value in space.compared] for size in SIZES]
    return list(dict.fromkeys(config for each in by_size for config in each))


def _of_size(space: Space, value: Any, size: str) -> TrialConfig:
    if size == "default":
        return space.default(value)
    return space.extreme(value, min if size == "smallest" else max)


def taken(profile: ProfileResult) -> str:
    """Formats a profile as epoch time and memory, or as the kind of failure."""
    if profile.problem:
        return "no memory" if profile.no_room else "fails"
    return f"{_duration(profile.epoch_seconds)}, {profile.memory_gib:.1f} GiB"


@dataclass(frozen=True)
class Forecast:
    """Forecast of a study's time, memory and disk usage.

    Attributes:
        space: The search space.
        profiled: Profile of each configuration of `profiled_configurations`.
        trials: Number of trials in the search.
        finals: Number of final trainings after the search.
        concurrent: Number of trials that run at the same time.
        keep: Number of finished trials that keep a checkpoint.
        memory: Memory available to each trial, in GiB.
    """

    space: Space
    profiled: Mapping[TrialConfig, ProfileResult]
    trials: int
    finals: int
    concurrent: int
    keep: int
    memory: float

    def of(self, value: Any, size: str) -> ProfileResult:
        """Returns the profile of the smallest, default or largest configuration of a group."""
        return self.profiled[_of_size(self.space, value, size)]

    def table(self) -> Table:
        """Tabulates time and memory of each profiled configuration."""
        table = Table(box=None, padding=(0, 2), pad_edge=False)
        for title in ("an epoch of the", *SIZES):
            table.add_column(title, no_wrap=True)
        for value in self.space.compared:
            table.add_row(str(value), *(taken(self.of(value, each)) for each in SIZES))
        return table

    def hours(self, size: str) -> float:
        """Estimates the hours of the study if all trials and finals had this size.

        No early stopping is assumed. The result is NaN if no configuration of this size can be
        trained.

        Args:
            size: One of `SIZES`.
        """
        seconds = [self.of(value, size) for value in self.space.compared]
        epochs = [each.epoch_seconds for each in seconds if not each.problem]
        rounds = sum(math.ceil(count / self.concurrent) for count in (self.trials, self.finals))
        return fmean(epochs) * self.space.epochs * rounds / 3600 if epochs else float("nan")

    def bytes(self) -> int:
        """Returns the maximum disk usage of the study in bytes, without its figures."""
        largest = max(each.checkpoint_bytes for each in self.profiled.values())
        groups = len(self.space.compared)
        kept = self.keep + 2 * groups + self.finals + (checkpoint.KEPT + 1) * self.concurrent
        return kept * largest + ROW_BYTES * (self.trials + self.finals) * self.space.epochs

    def text(self) -> str:
        """Returns the forecast for the user, and a line per configuration that does not fit."""
        finals = f" and {self.finals} finals" if self.finals else ""
        lines = [
            f"forecast: {self.trials} trials{finals} of {self.space.epochs} epochs, "
            f"{self.concurrent} at a time: {_duration(3600 * self.hours('default'))} as the "
            "default, "
            f"{_duration(3600 * self.hours('smallest'))} to "
            f"{_duration(3600 * self.hours('largest'))} by size, less with early stopping; "
            f"disk: at most {self.bytes() / 2**20:,.0f} MiB"
        ]
        for value in self.space.compared:
            for size in SIZES:
                each = self.of(value, size)
                if each.problem:
                    lines.append(f"the {size} {value} cannot be trained: {each.problem}")
                elif each.memory_gib > self.memory:
                    lines.append(
                        f"the {size} {value} takes {each.memory_gib:.1f} GiB, there are "
                        f"{self.memory:.1f} for a trial: it will not fit beside others"
                    )
        return "\n".join(lines)

    def check_trainable(self) -> None:
        """Checks that a profiled configuration can be trained.

        Raises:
            InputError: If none can.
        """
        problems = [each.problem for each in self.profiled.values()]
        if all(problems):
            raise InputError(f"not even the smallest configuration can be trained: {problems[0]}")

    def check_disk(self, runs: AnyPath) -> None:
        """Checks that the study fits on its disk.

        Args:
            runs: Folder of its checkpoints; an object store is taken to have enough space.

        Raises:
            InputError: If it does not.
        """
        free = shutil.disk_usage(runs).free if isinstance(runs, Path) else math.inf
        if self.bytes() > free:
            raise InputError(
                f"the study may take {self.bytes() / 2**20:,.0f} MiB in {runs}, where "
                f"{free / 2**20:,.0f} are free: free some, choose another place, or a smaller "
                "--keep"
            )


def _duration(seconds: float) -> str:
    if seconds != seconds:
        return "?"
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
