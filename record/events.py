"""Everything that can happen to a study, each as a frozen value, and how it is written as JSON."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, get_args

from record import values
from record.trial import Placement, Report, Role, Status

Direction = Literal["maximize", "minimize"]
EndStatus = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class SessionBegan:
    """A command begins, or goes on with, the study.

    Attributes:
        session: Its name, which sorts by age, such as ``session-0003``.
        identity: Tells this study from another one of the same name.
        objective: The metric that is searched for.
        direction: Whether more of it is better, or less.
        spec: What the study is: it never changes.
        space: What is searched; it may become narrower from session to session.
        settings: What may change from session to session, such as the command.
        at: When; UTC.
    """

    session: str
    identity: str
    objective: str
    direction: Direction
    spec: Mapping[str, Any]
    space: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True)
class Proposed:
    """A trial is to be run; see `record.trial.Trial` for the fields."""

    number: int
    config: Mapping[str, Any]
    drawn: Mapping[str, Any]
    role: Role
    at: datetime
    inactive: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""


@dataclass(frozen=True)
class Placed:
    """A trial has its place, and begins or goes on there."""

    number: int
    placement: Placement
    at: datetime


@dataclass(frozen=True)
class Reported:
    """Epochs of a trial are done, and a checkpoint holds them.

    Attributes:
        number: The trial.
        reports: The epochs, without a gap; of one that was known before, this one counts.
        checkpoint: Name of the checkpoint that holds the last of them.
    """

    number: int
    reports: tuple[Report, ...]
    checkpoint: str = ""


@dataclass(frozen=True)
class Paused:
    """A trial leaves its place and goes on later, from its checkpoint."""

    number: int
    reason: str
    at: datetime


@dataclass(frozen=True)
class Ended:
    """A trial has come to its end.

    Attributes:
        number: The trial.
        status: How: finished, pruned, failed or infeasible.
        at: When; UTC.
        reason: Why it has no result.
        reports: The last epochs, which no checkpoint holds yet.
        output: The last lines that the process of a failed trial wrote.
    """

    number: int
    status: Status
    at: datetime
    reason: str = ""
    reports: tuple[Report, ...] = ()
    output: str = ""


@dataclass(frozen=True)
class Scored:
    """A finished trial was scored on the test units, which is done once.

    Attributes:
        number: The trial.
        scores: Name -> value.
        outcomes: Name of the file that holds the outcome on each test unit; empty: none does.
        at: When; UTC.
    """

    number: int
    scores: Mapping[str, float]
    outcomes: str
    at: datetime


@dataclass(frozen=True)
class Discarded:
    """The user deleted a trial's run in MLflow; it is not recorded there again."""

    number: int
    at: datetime


@dataclass(frozen=True)
class SessionEnded:
    """A command leaves the study.

    Attributes:
        session: Its name.
        status: ``FINISHED``: the study has its answer; ``FAILED``: it has none and gets none;
            ``KILLED``: it can go on.
        reason: The same for the user.
        at: When; UTC.
    """

    session: str
    status: EndStatus
    reason: str
    at: datetime


Event = (
    SessionBegan
    | Proposed
    | Placed
    | Reported
    | Paused
    | Ended
    | Scored
    | Discarded
    | SessionEnded
)

DURABLE = (SessionBegan, Proposed, Paused, Ended, Scored, Discarded, SessionEnded)
"""Events that are on the disk before anything follows from them."""

KINDS: Mapping[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}
FIELDS = {kind: tuple(each.name for each in fields(kind)) for kind in get_args(Event)}
ROLES: Mapping[str, type[Role]] = {kind.__name__: kind for kind in get_args(Role)}


def to_json(event: Event) -> dict[str, Any]:
    """An event as what `json` writes.

    Raises:
        ValueError: If something in it cannot be written exactly, such as nan.
    """
    kind = type(event)
    written: dict[str, Any] = {"event": kind.__name__}
    for name in FIELDS[kind]:
        value = getattr(event, name)
        if name in WRITE:
            value = WRITE[name](value)
        written[name] = value
    return written


def from_json(written: dict[str, Any]) -> Event:
    """The event that `to_json` wrote.

    Raises:
        ValueError: If it is none.
    """
    try:
        kind = KINDS[written.pop("event")]
        for name in READ_OF[kind]:
            written[name] = READ[name](written[name])
        return kind(**written)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no event of this version of the log: {error!r}") from error


def _write_role(role: Role) -> dict[str, Any]:
    return {"role": type(role).__name__, **asdict(role)}


def _read_role(written: dict[str, Any]) -> Role:
    return ROLES[written.pop("role")](**written)


def _write_reports(reports: Sequence[Report]) -> dict[str, Any]:
    """Epochs as rows of a table, whose head names the metrics; null where an epoch lacks one."""
    names = tuple(dict.fromkeys(name for report in reports for name in report.metrics))
    return {"metrics": names, "rows": [_row(report, names) for report in reports]}


def _row(report: Report, names: Sequence[str]) -> list[float | None]:
    values = {"memory_gib": report.memory_gib, **report.metrics}
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}: expected a finite number")
    metrics = map(report.metrics.get, names)
    return [report.epoch, report.unix_ms, report.memory_gib, *metrics]


def _read_reports(written: dict[str, Any]) -> tuple[Report, ...]:
    names = written["metrics"]
    return tuple(
        Report(epoch, unix_ms, memory_gib, _metrics(names, metrics))
        for epoch, unix_ms, memory_gib, *metrics in written["rows"]
    )


def _metrics(names: Sequence[str], row: Sequence[float | None]) -> dict[str, float]:
    if None in row:
        known = zip(names, row, strict=True)
        return {name: value for name, value in known if value is not None}
    return dict(zip(names, row, strict=True))  # pyright: ignore[reportReturnType]


WRITE: Mapping[str, Callable[[Any], Any]] = {
    "at": datetime.isoformat,
    "role": _write_role,
    "placement": asdict,
    "reports": _write_reports,
    **{
        name: lambda value, name=name: values.to_json(value, name)
        for name in ("config", "drawn", "inactive", "spec", "space", "settings", "scores")
    },
}
"""Field -> how it is written; the others are as they are."""

READ: Mapping[str, Callable[[Any], Any]] = {
    "at": datetime.fromisoformat,
    "role": _read_role,
    "placement": lambda written: Placement(**written),
    "reports": _read_reports,
    **dict.fromkeys(
        ("config", "drawn", "inactive", "spec", "space", "settings", "scores"), values.from_json
    ),
}
"""Field -> how it is read."""

READ_OF = {kind: tuple(name for name in FIELDS[kind] if name in READ) for kind in FIELDS}
