"""The log and the state stay in step."""

from collections.abc import Iterator, Sequence

import pytest
from happened import at, began, ended, placed, proposed, reported
from played import Clock, Killed, MortalLog

from engine.history import History
from record.appender import PATIENCE, Appender
from record.events import Event
from record.log import MemoryLog, Superseded
from record.state import IllegalEvent, StudyState, fold


def begun(log: MemoryLog, clock: Clock | None = None) -> History:
    history = History(Appender(log, clock or Clock()), StudyState())
    history.add(began(), proposed(0), placed(0))
    return history


class Full(MemoryLog):
    """A log that takes one group, and then raises."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def append(self, group: Sequence[Event]) -> None:
        if self.lines:
            raise self.error
        super().append(group)


def test_an_event_and_what_follows_from_it_are_one_group() -> None:
    log = MemoryLog()
    history = begun(log)
    seen = []

    def follow() -> list[Event]:
        seen.append(history.state.trial(0).status)
        return [proposed(1)]

    history.add(ended(0, "failed"), then=follow)
    assert seen == ["failed"]
    assert list(log.read())[3:] == [ended(0, "failed"), proposed(1)]
    assert len(log.lines) == 2
    assert fold(log.read()).trials() == history.state.trials()


def test_each_event_that_follows_is_asked_for_when_the_one_before_has_happened() -> None:
    log = MemoryLog()
    history = begun(log)

    def follow() -> Iterator[Event]:
        yield proposed(history.state.next_number)
        yield proposed(history.state.next_number)

    history.add(ended(0, "failed"), then=follow)
    assert [t.number for t in fold(log.read()).trials()] == [0, 1, 2]
    assert len(log.lines) == 2


def test_what_cannot_have_happened_does_not_reach_the_log() -> None:
    log = MemoryLog()
    history = begun(log)
    with pytest.raises(IllegalEvent):
        history.add(ended(0, "failed"), ended(0, "failed"))
    assert list(log.read()) == [began(), proposed(0), placed(0)]
    with pytest.raises(OSError, match="the log was not written: IllegalEvent"):
        history.add(proposed(1))
    assert len(log.lines) == 1


def test_after_a_failure_nothing_is_written_and_nobody_sees_what_was_not() -> None:
    full = OSError(28, "No space left on device")
    log = Full(full)
    history = begun(log)
    history.state.apply(proposed(1))
    with pytest.raises(OSError, match="No space left"):
        history.add(ended(0, "failed"))
    assert history.trial(0) is None
    assert history.trial(1) is not None
    assert (history.failure, history.is_superseded) == (full, False)
    log.error = AssertionError("the log is asked again")  # pyright: ignore
    for again in (lambda: history.add(proposed(2)), history.flush):
        with pytest.raises(OSError, match="No space left"):
            again()
    assert len(log.lines) == 1


def test_a_driver_that_was_superseded_knows_it() -> None:
    history = begun(Full(Superseded("another driver went on")))
    with pytest.raises(Superseded):
        history.add(ended(0, "failed"))
    assert history.is_superseded
    assert history.written(0) is None, "it has nothing to say to MLflow any more"


def test_what_is_cut_short_while_it_is_written_closes_the_log() -> None:
    """A second Ctrl-C comes at any moment, and half a line may be on the disk."""
    log = MortalLog()
    history = begun(log)
    log.appends_left = 0
    with pytest.raises(Killed):
        history.add(ended(0, "failed"))
    with pytest.raises(OSError, match="the log was not written: Killed"):
        history.add(proposed(1))
    assert not history.is_superseded


def test_reports_wait_and_are_written_when_they_are_due() -> None:
    log, clock = MemoryLog(), Clock()
    history = begun(log, clock)
    history.add(reported(0, 1))
    history.flush(only_if_due=True)
    assert len(log.lines) == 1
    clock.seconds = PATIENCE
    history.flush(only_if_due=True)
    assert list(log.read())[3:] == [reported(0, 1)]
    history.add(reported(0, 2))
    history.flush()
    assert list(log.read())[3:] == [reported(0, 1), reported(0, 2)]


def test_what_waits_to_be_written_is_not_among_what_is_written() -> None:
    history = begun(MemoryLog())
    assert history.written(0) == history.state.trial(0)
    history.add(reported(0, 1))
    history.add(reported(0, 2))
    assert history.state.trial(0).epoch == 2
    known = history.written(0)
    assert known is not None
    assert (known.epoch, history.is_pending(0)) == (0, True)
    assert known == fold(history.appender.log.read()).trial(0)
    history.flush()
    assert (history.written(0), history.is_pending(0)) == (history.state.trial(0), False)


def test_an_event_that_is_written_at_once_takes_along_what_waits() -> None:
    history = begun(MemoryLog())
    history.add(reported(0, 1))
    history.add(proposed(1))
    assert not history.is_pending(0)
    assert history.written(0) == history.state.trial(0)
    assert history.written(1) == history.state.trial(1)


def test_of_what_the_log_does_not_take_nothing_is_written() -> None:
    history = begun(Full(OSError(28, "No space left on device")))
    history.add(reported(0, 1))
    with pytest.raises(OSError, match="No space left"):
        history.add(ended(0, "failed"), proposed(1))
    known = history.written(0)
    assert known is not None
    assert (known.status, known.epoch) == ("running", 0)
    assert history.written(1) is None
    assert history.written(77) is None


def test_the_time_is_told_by_its_clock() -> None:
    clock = Clock()
    history = History(Appender(MemoryLog(), clock), StudyState(), clock.now)
    clock.seconds = 7.0
    assert history.now() == at(7.0)
