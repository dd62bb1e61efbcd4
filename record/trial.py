"""The one type of a trial. Whoever has another one, as Optuna, Tune and MLflow do, translates."""

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
"""How a trial stands.

``waiting`` for its place; ``running``; ``paused`` to make room, or because the session ends;
``stopped``: its session was cut off while it ran; ``finished`` its whole budget; ``pruned``:
stopped early for good; ``failed``; ``infeasible``: needs more memory than there is.
"""

OPEN: tuple[Status, ...] = ("waiting", "running", "paused", "stopped")
"""Statuses of a trial that goes on."""

WITH_RESULT: tuple[Status, ...] = ("finished", "pruned")
WITHOUT_RESULT: tuple[Status, ...] = ("failed", "infeasible")
ENDED: tuple[Status, ...] = (*WITH_RESULT, *WITHOUT_RESULT)
"""Statuses of a trial that has come to its end."""


@dataclass(frozen=True)
class Searched:
    """The role of a trial that a sampler proposed, or a list of configurations.

    Attributes:
        index: Its place among the trials of the search, counted from 0, baselines included.
    """

    index: int


@dataclass(frozen=True)
class Baseline:
    """The role of a trial that everything else is compared with; the sampler learns from it.

    Attributes:
        index: Its place among the trials of the search, counted from 0.
    """

    index: int


@dataclass(frozen=True)
class Replicate:
    """The role of another training of a trial's configuration; no sampler learns from it.

    Attributes:
        of: Number of that trial.
        seed: The fresh seed.
    """

    of: int
    seed: int


Role = Searched | Baseline | Replicate


@dataclass(frozen=True, slots=True)
class Report:
    """One epoch of a trial.

    Attributes:
        epoch: Counted from 1.
        unix_ms: When it ended, in milliseconds since 1970, UTC.
        memory_gib: Memory of the trial's process, or of its GPU, after it; GiB.
        metrics: Name -> finite value.
    """

    epoch: int
    unix_ms: int
    memory_gib: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Placement:
    """Where and with what a trial ran.

    Attributes:
        node: Name of the machine.
        device: What the GPU calls itself, or ``cpu``.
        processor: Of the machine, with the instructions that torch uses.
        threads: That share a sum.
        process: Its id on that machine.
        commit: Of the code, with ``+`` where files were changed since.
        versions: Package -> its version.
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
    """One trial as far as it is known.

    Attributes:
        number: Its number in the study.
        config: Field -> plain value; see `record.values`.
        drawn: Parameter -> what Optuna drew: only the parameters that apply.
        role: What it is there for.
        status: How it stands.
        reports: Its epochs, the first one first; those that a checkpoint holds.
        reason: Why it stands as it does; empty where there is nothing to say.
        placements: Where it ran, one after the other.
        started: When it was first placed, UTC; None before.
        ended: When it ended, UTC; None before.
        inactive: Parameter -> what Optuna drew in the same go for a parameter that does not apply.
            While a trial runs, TPE counts these values too.
        output: The last lines that the process of a failed trial wrote.
        title: Its configuration at a glance.
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

    def with_reports(self, reports: Sequence[Report]) -> "Trial":
        """The trial with these epochs; several times as fast as `dataclasses.replace`."""
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
        )

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self.reports[-1].epoch if self.reports else 0

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.status in OPEN

    @property
    def is_baseline(self) -> bool:
        """Whether everything else is compared with it."""
        return isinstance(self.role, Baseline)

    @property
    def replicate_of(self) -> int | None:
        """Number of the trial that it is another training of; None: of none."""
        return self.role.of if isinstance(self.role, Replicate) else None

    def value(self, metric: str) -> float | None:
        """A metric after the last epoch; None before the first, or where that epoch lacks it."""
        return self.reports[-1].metrics.get(metric) if self.reports else None
