"""When events are written: at once, with others, or after a while."""

import os
from pathlib import Path

import pytest
from happened import (
    at,
    began,
    ended,
    ended_session,
    long_study,
    placed,
    proposed,
    reported,
    story,
)

from record.appender import PATIENCE, Appender
from record.events import DURABLE, Discarded, Dropped, Paused, Scored
from record.log import FileLog, MemoryLog
from record.state import fold


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    "event",
    [
        began(),
        proposed(0),
        Paused(0, "", at(1)),
        ended(0, "failed"),
        Dropped(0, "", at(1)),
        Scored(0, {}, "", at(1)),
        Discarded(0, at(1)),
        ended_session(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_something_follows_from_is_written_at_once(event, clock: Clock) -> None:
    log = MemoryLog()
    Appender(log, clock).append(event)
    assert list(log.read()) == [event]
    assert isinstance(event, DURABLE)


def test_reports_ride_with_what_is_written_at_once(clock: Clock) -> None:
    log = MemoryLog()
    appender = Appender(log, clock)
    appender.append(placed(0))
    appender.append(reported(0, 1))
    assert list(log.read()) == []
    appender.append(ended(0, "failed"), proposed(1))
    assert list(log.read()) == [placed(0), reported(0, 1), ended(0, "failed"), proposed(1)]
    assert len(log.lines) == 1


def test_reports_wait_five_seconds_at_most(clock: Clock) -> None:
    log = MemoryLog()
    appender = Appender(log, clock)
    appender.append(reported(0, 1))
    clock.now += 4.9
    appender.append(reported(0, 2))
    appender.flush_if_due()
    assert log.lines == []
    clock.now += 0.1
    appender.flush_if_due()
    assert list(log.read()) == [reported(0, 1), reported(0, 2)]
    clock.now += 100
    appender.append(reported(0, 3))
    assert len(log.lines) == 1, "the five seconds begin with the first that waits"
    assert PATIENCE == 5.0


def test_nothing_is_written_where_nothing_waits(clock: Clock) -> None:
    log = MemoryLog()
    appender = Appender(log, clock)
    appender.append()
    appender.flush()
    clock.now += 10
    appender.flush_if_due()
    assert log.lines == []


def test_what_a_log_did_not_take_still_waits(clock: Clock, monkeypatch) -> None:
    log = MemoryLog()
    appender = Appender(log, clock)

    def full(group: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(log, "append", full)
        with pytest.raises(OSError, match="No space"):
            appender.append(reported(0, 1), ended(0, "failed"))
    appender.flush()
    assert list(log.read()) == [reported(0, 1), ended(0, "failed")]


def test_the_order_is_kept(clock: Clock) -> None:
    log = MemoryLog()
    appender = Appender(log, clock)
    for event in story():
        clock.now += 1.5
        appender.append(event)
    appender.flush()
    assert list(log.read()) == story()


def test_a_log_of_many_trials_is_written_a_few_times_a_trial(tmp_path: Path, monkeypatch) -> None:
    """A tenth of 10,000 trials of 50 epochs, at 20 epochs a second: epochs wait for each other."""
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    now, trials, epochs = 0.0, 1_000, 50
    log = FileLog(tmp_path / "log.jsonl")
    appender = Appender(log, clock=lambda: now)
    for group in long_study(trials, epochs):
        now += 1 / 20
        appender.append(*group)
    assert len(flushed) < 2 * trials
    assert log.path.stat().st_size < 500 * trials * epochs
    state = fold(FileLog(log.path).read())
    assert state.count("finished") == trials
    assert sum(len(trial.reports) for trial in state.trials()) == trials * epochs
