"""The project's trial type; modules for Optuna, Tune and MLflow convert to and from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Status = Literal[
    "waiting",
    "running",
    "paused",
    "stopped",
    "finished",
    "pruned",
    "failed",
    "infeasible",
]
"""Status of a trial.

``waiting``: not placed yet; ``running``; ``paused``: taken off its slot, to be resumed later;
``stopped``: its session ended or was cut off while it ran; ``finished``: trained for all of its
epochs; ``pruned``: stopped early for good; ``failed``; ``infeasible``: needs more memory than
available.
"""

OPEN: tuple[Status, ...] = ("waiting", "running", "paused", "stopped")
"""Statuses of a trial that has not ended."""

WITH_RESULT: tuple[Status, ...] = ("finished", "pruned")
WITHOUT_RESULT: tuple[Status, ...] = ("failed", "infeasible")
ENDED: tuple[Status, ...] = (*WITH_RESULT, *WITHOUT_RESULT)
"""Statuses of a trial that has ended."""


@dataclass(frozen=True)
class Searched:
    """Role of a trial of the search, proposed by a sampler or from a list of configurations.

    Attributes:
        index: Index among the trials of the search, from 0, baselines included.
    """

    index: int


@dataclass(frozen=True)
class Baseline:
    """Role of a baseline, with which all other trials are compared; the sampler learns from it.

    Attributes:
        index: Index among the trials of the search, from 0.
    """

    index: int


@dataclass(frozen=True)
class Replicate:
    """Role of a final: a trial's configuration trained again; no sampler learns from it.

    Attributes:
        of: Number of the trial whose configuration is trained.
        seed: The fresh seed.
    """

    of: int
    seed: int


Role = Searched | Baseline | Replicate


@dataclass(frozen=True, slots=True)
class Report:
    """One epoch of a trial.

    Attributes:
        epoch: Number of the epoch, from 1.
        unix_ms: Time at which it ended, in milliseconds since 1970, UTC.
        memory_gib: Memory of the trial's process, or its GPU memory, after the epoch, in GiB.
        metrics: Metric name -> finite value.
    """

    epoch: int
    unix_ms: int
    memory_gib: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Placement:
    """The machine, process and code version with which a trial ran.

    Attributes:
        node: Name of the machine.
        device: Name of the GPU, or ``cpu``.
        processor: Name of the CPU, with the instruction set that torch uses.
        threads: Number of threads that torch uses for one operation.
        process: Process id on the machine.
        commit: Git commit of the code, with ``+`` appended if files were changed since.
        versions: Package name -> its version.
    """

    node: str
    device: str
    processor: str
    threads: int
    process: int
    commit: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Trial:
    """The current state of one trial.

    Attributes:
        number: Number in the study, from 0.
        config: Config field -> plain value; see `record.values`.
        drawn: Parameter -> sampled value, only for the parameters that apply.
        role: Purpose of the trial: search, baseline or final.
        status: Status of the trial.
        reports: Its epochs so far, in order.
        reason: Why it has its status; empty if there is nothing to explain.
        placements: The placements on which it ran, in order.
        started: Time of its first placement, in UTC; None before.
        ended: Time of its end, in UTC; None before.
        inactive: Parameter -> value of the same joint draw, for parameters that do not apply. TPE
            uses these values while the trial is running.
        output: Last output lines of a failed trial's process.
        title: Short description of its configuration.
        dropped: For a finalist that was dropped from the finals, the reason; else empty.
    """

    number: int
    config: Mapping[str, Any]
    drawn: Mapping[str, Any]
    role: Role
    status: Status = "waiting"
    reports: Sequence[Report] = ()
    reason: str = ""
    placements: tuple[Placement, ...] = ()
    started: datetime | None = None
    ended: datetime | None = None
    inactive: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    title: str = ""
    dropped: str = ""

    def with_reports(self, reports: Sequence[Report]) -> "Trial":
        """Returns a copy with these epochs; several times as fast as `dataclasses.replace`."""
        return Trial(
            self.number,
            self.config,
            self.drawn,
            self.role,
            self.status,
            reports,
            self.reason,
            self.placements,
            self.started,
            self.ended,
            self.inactive,
            self.output,
            self.title,
            self.dropped,
        )

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return self.reports[-1].epoch if self.reports else 0

    @property
    def is_open(self) -> bool:
        """True if the trial has not ended."""
        return self.status in OPEN

    @property
    def is_baseline(self) -> bool:
        """True if the trial is a baseline."""
        return isinstance(self.role, Baseline)

    @property
    def replicate_of(self) -> int | None:
        """For a final, the number of the trial whose configuration it trains; otherwise None."""
        return self.role.of if isinstance(self.role, Replicate) else None

    def value(self, metric: str) -> float | None:
        """Returns a metric of the last epoch; None if there is no epoch or it lacks the metric."""
        return self.reports[-1].metrics.get(metric) if self.reports else None
