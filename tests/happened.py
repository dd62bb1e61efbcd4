"""Invented events, for the tests of the record."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from record.events import (
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
"""What is searched, as a study's session writes it."""

PLACEMENT = Placement("node", "cpu", "x86 AVX2", 1, 4242, "abc+", {"torch": "2.13.0"})


def at(seconds: float) -> datetime:
    """A time after the study began."""
    return BEGUN + timedelta(seconds=seconds)


def began(session: int = 1, **other: Any) -> SessionBegan:
    """A session begins."""
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
    """A session ends."""
    return SessionEnded(f"session-{session:04d}", status, "all trials are done", at(1000))


def proposed(number: int, role: Role | None = None, **config: Any) -> Proposed:
    """A trial is proposed, for the search unless it is said otherwise."""
    drawn = {"width": 32 + number, "learning_rate": 0.1 / (number + 1)}
    config = {"seed": 0, "epochs": 3, "sizes": (1, 2), **drawn, **config}
    role = role or Searched(number)
    title = str(config["width"])
    return Proposed(number, config, drawn, role, at(number), title=title)


def placed(number: int) -> Placed:
    """A trial has its place."""
    return Placed(number, PLACEMENT, at(number + 0.5))


def report(epoch: int, r2: float = 0.5, **metrics: float) -> Report:
    """One epoch."""
    return Report(epoch, UNIX_MS + 1000 * epoch, 0.25, {"validation/r2": r2, **metrics})


def reported(number: int, *epochs: int, r2: float = 0.5) -> Reported:
    """Epochs of a trial are in a checkpoint."""
    return Reported(number, tuple(report(epoch, r2) for epoch in epochs), f"c/{epochs[-1]}")


def ended(number: int, status: Status = "finished", r2: float | None = None) -> Ended:
    """A trial ends; with its third epoch, if a result is given."""
    reports = () if r2 is None else (report(3, r2),)
    return Ended(number, status, at(100 + number), "" if reports else "so it goes", reports)


def story() -> list[Event]:
    """A study of two sessions, in which everything happens that usually does."""
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
        ended_session(2),
    ]


def long_study(trials: int, epochs: int) -> Iterator[list[Event]]:
    """The groups of a study, as its driver would append them: each epoch an event of its own, a
    trial's end together with the next one's beginning."""
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
