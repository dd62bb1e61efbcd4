"""The events of a study's log, as frozen dataclasses, and their JSON form."""

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
    """Event: a command has begun or continued the study, in a new session.

    Attributes:
        session: Name of the session, which sorts by age, such as ``session-0003``.
        identity: Unique id of the study, which distinguishes studies of the same name.
        objective: Name of the metric to optimise.
        direction: ``maximize`` or ``minimize``.
        spec: Definition of the study, which never changes but for the fields that a narrower space
            fixes, and what is tried first in it.
        space: Parameters that the session searches, all those of the first session or some.
        settings: What may change between sessions, such as the command.
        at: Time of the event, in UTC.
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
    """Event: a trial was proposed, to be run; see `record.trial.Trial` for the fields."""

    number: int
    config: Mapping[str, Any]
    drawn: Mapping[str, Any]
    role: Role
    at: datetime
    inactive: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""


@dataclass(frozen=True)
class Placed:
    """Event: a trial got a slot on a node, and begins or resumes there."""

    number: int
    placement: Placement
    at: datetime


@dataclass(frozen=True)
class Reported:
    """Event: a trial has completed epochs, and a checkpoint holds them.

    Attributes:
        number: Number of the trial.
        reports: Consecutive epochs; they replace reports of the same epochs.
        checkpoint: Name of the checkpoint that holds the last of them.
    """

    number: int
    reports: tuple[Report, ...]
    checkpoint: str = ""


@dataclass(frozen=True)
class Paused:
    """Event: a trial was taken off its slot, and resumes later from its checkpoint."""

    number: int
    reason: str
    at: datetime


@dataclass(frozen=True)
class Ended:
    """Event: a trial has ended.

    Attributes:
        number: Number of the trial.
        status: ``finished``, ``pruned``, ``failed`` or ``infeasible``.
        at: Time of the event, in UTC.
        reason: Why it has no result; empty if it has one.
        reports: Its last epochs, if no checkpoint holds them yet.
        output: Last output lines of a failed trial's process.
    """

    number: int
    status: Status
    at: datetime
    reason: str = ""
    reports: tuple[Report, ...] = ()
    output: str = ""


@dataclass(frozen=True)
class Dropped:
    """Event: a finalist was dropped from the race of the finals, and does not become the champion.

    Attributes:
        number: Number of the finalist, a trial of the search.
        reason: Why it was dropped, for the user.
        at: Time of the event, in UTC.
    """

    number: int
    reason: str
    at: datetime


@dataclass(frozen=True)
class Scored:
    """Event: a finished trial was scored on the test split, which is done once.

    Attributes:
        number: Number of the trial.
        scores: Score name -> value.
        outcomes: Name of the file with the outcome on each test unit; empty if there is none.
        at: Time of the event, in UTC.
    """

    number: int
    scores: Mapping[str, float]
    outcomes: str
    at: datetime


@dataclass(frozen=True)
class Discarded:
    """Event: the user deleted a trial's MLflow run, which is not recorded there again."""

    number: int
    at: datetime


@dataclass(frozen=True)
class SessionEnded:
    """Event: a session has ended.

    Attributes:
        session: Name of the session.
        status: ``FINISHED``: the study is complete; ``FAILED``: no trial finished; ``KILLED``: the
            study can be continued.
        reason: Why the session ended, for the user.
        at: Time of the event, in UTC.
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
    | Dropped
    | Scored
    | Discarded
    | SessionEnded
)

DURABLE = (SessionBegan, Proposed, Paused, Ended, Dropped, Scored, Discarded, SessionEnded)
"""Kinds of events that must be in the log before anything follows from them."""

KINDS: Mapping[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}
FIELDS = {kind: tuple(each.name for each in fields(kind)) for kind in get_args(Event)}
ROLES: Mapping[str, type[Role]] = {kind.__name__: kind for kind in get_args(Role)}


def to_json(event: Event) -> dict[str, Any]:
    """Converts an event to a JSON-serialisable dict.

    Raises:
        ValueError: If a value cannot be written exactly, such as NaN.
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
    """Converts the dict of `to_json` back to the event; the dict is modified.

    Raises:
        ValueError: If the dict is not an event of this version.
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
    """Converts epochs to a table of metric names and one row per epoch; None marks gaps."""
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
"""Field -> function that converts it to JSON; all other fields are written unchanged."""

READ: Mapping[str, Callable[[Any], Any]] = {
    "at": datetime.fromisoformat,
    "role": _read_role,
    "placement": lambda written: Placement(**written),
    "reports": _read_reports,
    **dict.fromkeys(
        ("config", "drawn", "inactive", "spec", "space", "settings", "scores"), values.from_json
    ),
}
"""Field -> function that converts it from JSON; all other fields are read unchanged."""

READ_OF = {kind: tuple(name for name in FIELDS[kind] if name in READ) for kind in FIELDS}
