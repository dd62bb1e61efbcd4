"""Invented events of studies, for tests of the record."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from record.events import (
    Dropped,
    Ended,
    Event,
    Paused,
    Placed,
    Proposed,
    Reported,
    SessionBegan,
    SessionEnded,
)
from record.trial import Baseline, Placement, Replicate, Report, Role, Searched, Status

BEGUN = datetime(2026, 11, 26, 3, 0, 0, 123456, tzinfo=UTC)
UNIX_MS = 1_764_126_000_123

SPACE = (
    {
        "key": "width",
        "field": "width",
        "distribution": {
            "name": "IntDistribution",
            "attributes": {"low": 16, "high": 64, "step": 1, "log": True},
        },
        "when": None,
    },
    {
        "key": "learning_rate",
        "field": "learning_rate",
        "distribution": {
            "name": "FloatDistribution",
            "attributes": {"low": 0.001, "high": 1.0, "step": None, "log": True},
        },
        "when": None,
    },
)
"""Search space of the invented studies, in the form in which a session records it."""

PLACEMENT = Placement("node", "cpu", "x86 AVX2", 1, 4242, "abc+", {"torch": "2.13.0"})


def at(seconds: float) -> datetime:
    """Returns the time a number of seconds after the beginning of the study."""
    return BEGUN + timedelta(seconds=seconds)


def began(session: int = 1, **other: Any) -> SessionBegan:
    """Makes the event that a session begins; `other` replaces fields of the event."""
    usual = SessionBegan(
        session=f"session-{session:04d}",
        identity="x",
        objective="validation/r2",
        direction="maximize",
        spec={"seed": 0, "group_by": "width", "data.digest": "0123"},
        space=SPACE,
        settings={
            "orrery.question": "Why?",
            "orrery.data_title": "molecules",
            "orrery.command": "python study.py",
            "orrery.keep": "1",
        },
        at=at(session),
    )
    return replace(usual, **other)


def ended_session(session: int = 1, status: Any = "FINISHED") -> SessionEnded:
    """Makes the event that a session ends."""
    return SessionEnded(f"session-{session:04d}", status, "all trials are done", at(1000))


def proposed(number: int, role: Role | None = None, **config: Any) -> Proposed:
    """Makes the event that a trial is proposed.

    Args:
        number: Number of the trial.
        role: Role of the trial; None: a trial of the search.
        config: Values that replace or extend the invented configuration.
    """
    drawn = {"width": 32 + number, "learning_rate": 0.1 / (number + 1)}
    config = {"seed": 0, "epochs": 3, "sizes": (1, 2), **drawn, **config}
    role = role or Searched(number)
    title = str(config["width"])
    return Proposed(number, config, drawn, role, at(number), title=title)


def placed(number: int) -> Placed:
    """Makes the event that a trial is placed on a machine."""
    return Placed(number, PLACEMENT, at(number + 0.5))


def report(epoch: int, r2: float = 0.5, **metrics: float) -> Report:
    """Makes the report of one epoch, with R² and further metrics."""
    return Report(epoch, UNIX_MS + 1000 * epoch, 0.25, {"validation/r2": r2, **metrics})


def reported(number: int, *epochs: int, r2: float = 0.5) -> Reported:
    """Makes the event that epochs of a trial are reported and saved in a checkpoint."""
    return Reported(number, tuple(report(epoch, r2) for epoch in epochs), f"c/{epochs[-1]}")


def ended(number: int, status: Status = "finished", r2: float | None = None) -> Ended:
    """Makes the event that a trial ends; if `r2` is given, with the report of epoch 3."""
    reports = () if r2 is None else (report(3, r2),)
    return Ended(number, status, at(100 + number), "" if reports else "so it goes", reports)


def story() -> list[Event]:
    """Returns the events of a study of two sessions, which contain every common event."""
    return [
        began(1),
        proposed(0, Baseline(0)),
        proposed(1),
        placed(0),
        placed(1),
        reported(0, 1),
        reported(1, 1, 2),
        reported(0, 2),
        ended(0, r2=0.75),
        Paused(1, "the session ends", at(20)),
        ended_session(1, "KILLED"),
        began(2),
        placed(1),
        ended(1, "pruned"),
        proposed(2),
        placed(2),
        ended(2, "failed"),
        proposed(3, Replicate(0, 7)),
        placed(3),
        reported(3, 1, 2),
        ended(3, r2=0.5),
        Dropped(0, "it was far behind", at(104)),
        ended_session(2),
    ]


def long_study(trials: int, epochs: int) -> Iterator[list[Event]]:
    """Yields groups of events of a long study, as its driver would append them to the log.

    Each epoch is an event of its own; the end of a trial and the start of the next one share a
    group.
    """
    names = ("train/loss", "train/seconds", "validation/loss", "validation/mae", "validation/mse")
    last: list[Event] = [began()]
    for number in range(trials):
        yield [*last, proposed(number), placed(number)]
        for epoch in range(1, epochs):
            wide = {name: 1 / (epoch + number + place) for place, name in enumerate(names)}
            one = report(epoch, 1 / (epoch + 0.1234567), **wide)
            yield [Reported(number, (one,), f"s/trial-{number:05d}/checkpoint_{epoch:06d}")]
        final = report(epochs, number / trials, **dict.fromkeys(names, 0.1))
        last = [Ended(number, "finished", at(number), reports=(final,))]
    yield [*last, ended_session()]
