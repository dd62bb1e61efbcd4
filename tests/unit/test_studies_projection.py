"""A tracker is told in the background, whatever becomes of it."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from happened import at, began, ended, placed, proposed, reported
from played import Clock

from record.appender import Appender
from record.events import Discarded, Event
from record.log import MemoryLog, Superseded
from record.state import StudyState, fold
from record.tracker import MemoryTracker
from record.trial import Trial
from studies import projection
from studies.history import History
from studies.projection import Projection, catch_up


class Told:
    """A study of which a tracker is told."""

    def __init__(self, tracker: MemoryTracker | None = None) -> None:
        self.log = MemoryLog()
        self.history = History(Appender(self.log, Clock()), StudyState(), lambda: at(9))
        self.history.add(began())
        self.tracker = tracker or MemoryTracker()
        self.said: list[str] = []
        self.projection = Projection(self.tracker, self.history, self.said.append)

    def happens(self, *events: Event) -> None:
        """Something happens to trials, and the tracker is to be told."""
        self.history.add(*events)
        for number in {event.number: None for event in events}:  # pyright: ignore
            self.projection.changed(self.history.state.trial(number))

    def is_shown(self) -> bool:
        """Whether the tracker shows all trials as they stand."""
        placed = [t for t in self.history.state.trials() if t.placements]
        return list(self.tracker.trials.values()) == placed


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not there():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGAIN", "AT_THE_END"):
        monkeypatch.setattr(projection, name, 0.01)


def test_an_ending_is_told_at_once() -> None:
    told = Told()
    told.happens(proposed(0), placed(0), reported(0, 1))
    told.happens(ended(0, "failed"))
    wait_until(told.is_shown)
    assert told.projection.finish(0.0) == []


def test_epochs_wait_for_more_of_them_and_are_told_in_the_end() -> None:
    told = Told()
    told.happens(proposed(0), placed(0))
    for epoch in (1, 2, 3):
        told.happens(reported(0, epoch))
    time.sleep(0.05)
    assert told.tracker.told == 0
    told.history.flush()
    assert told.projection.finish(0.0) == []
    assert (told.is_shown(), told.tracker.told) == (True, 1)


def test_epochs_that_waited_long_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "PATIENCE", 0.01)
    told = Told()
    told.happens(proposed(0), placed(0), reported(0, 1))
    wait_until(told.is_shown)
    told.projection.finish(0.0)


def test_who_tells_of_a_change_does_not_wait() -> None:
    go_on = threading.Event()

    class Slow(MemoryTracker):
        def tell(self, trial: Trial) -> None:
            assert go_on.wait(20)
            super().tell(trial)

    told = Told(Slow())
    for number in range(3):
        told.happens(proposed(number), placed(number), ended(number, "failed"))
    assert told.tracker.trials == {}
    go_on.set()
    assert told.projection.finish(0.0) == []
    assert told.is_shown()


def test_what_changes_while_it_is_told_is_told_again() -> None:
    class Reading(MemoryTracker):
        begun = threading.Event()
        go_on = threading.Event()

        def tell(self, trial: Trial) -> None:
            self.begun.set()
            assert self.go_on.wait(20)
            super().tell(trial)

    tracker = Reading()
    told = Told(tracker)
    told.happens(proposed(0))
    assert tracker.begun.wait(20)
    told.happens(placed(0), ended(0, "failed"))
    tracker.go_on.set()
    assert told.projection.finish(0.0) == []
    assert told.is_shown()


def test_while_the_server_is_away_the_study_goes_on_and_it_is_said_once() -> None:
    told = Told()
    told.tracker.is_away = True
    for number in range(3):
        told.happens(proposed(number), placed(number), ended(number, "failed"))
        wait_until(lambda: bool(told.said))
    wait_until(lambda: told.tracker.told > 5)
    assert told.said == [
        "MLflow cannot be told (the tracking store is away); the study goes on, and what it has "
        "to record waits in its log"
    ]
    assert told.tracker.trials == {}
    told.tracker.is_away = False
    wait_until(lambda: len(told.said) == 2)
    assert told.said[1] == "MLflow can be told again; what waited is being delivered"
    wait_until(lambda: len(told.tracker.trials) == 3)
    assert told.projection.finish(0.0) == []
    told.tracker.trials = dict(sorted(told.tracker.trials.items()))
    assert told.is_shown()


def test_what_is_not_delivered_in_the_end_is_known() -> None:
    told = Told()
    told.happens(proposed(0), placed(0), ended(0, "failed"))
    wait_until(told.is_shown)
    told.tracker.is_away = True
    for number in (1, 2):
        told.happens(proposed(number), placed(number), ended(number, "failed"))
    told.happens(proposed(3), placed(3))
    assert told.projection.finish(0.05) == [1, 2, 3]
    again = Projection(told.tracker, told.history, told.said.append)
    told.tracker.is_away = False
    catch_up(told.tracker, told.history)
    assert (told.is_shown(), again.finish(0.0)) == (True, [])


def test_a_server_that_comes_back_in_time_is_told_in_the_end() -> None:
    told = Told()
    told.tracker.is_away = True
    told.happens(proposed(0), placed(0), ended(0, "failed"))
    wait_until(lambda: bool(told.said))
    threading.Timer(0.1, lambda: setattr(told.tracker, "is_away", False)).start()
    assert told.projection.finish(20.0) == []
    assert told.is_shown()


def test_a_trial_whose_run_the_user_deleted_is_discarded_and_never_told_again() -> None:
    told = Told()
    told.happens(proposed(0), placed(0), proposed(1), placed(1))
    told.tracker.removed.add(0)
    told.projection.changed(replace(told.history.state.trial(0), status="paused"))
    wait_until(lambda: 0 in told.projection.deleted)
    assert told.history.state.discarded == set(), "the log has one writer, the main thread"
    told.happens(reported(1, 1))
    assert told.history.state.discarded == {0}
    asked = told.tracker.told
    told.happens(ended(0, "failed"))
    assert told.projection.finish(0.0) == []
    assert told.tracker.told == asked + 1, "of trial 1"
    assert list(told.tracker.trials) == [1]
    events = list(told.log.read())
    assert events.count(Discarded(0, at(9))) == 1


def test_a_run_that_was_deleted_at_the_very_end_is_put_down_too() -> None:
    told = Told()
    told.happens(proposed(0), placed(0))
    told.tracker.removed.add(0)
    assert told.projection.finish(0.0) == []
    assert fold(told.log.read()).discarded == {0}


def test_what_was_deleted_between_two_sessions_is_discarded_and_the_rest_is_shown() -> None:
    told = Told()
    told.happens(proposed(0), placed(0), proposed(1), placed(1))
    assert told.projection.finish(0.0) == []
    told.tracker.delete(0)
    told.history.add(reported(1, 1))
    for _ in range(2):
        catch_up(told.tracker, told.history)
        assert fold(told.log.read()).discarded == {0}
        assert told.tracker.trials == {1: told.history.state.trial(1)}
    later = Projection(told.tracker, told.history, told.said.append)
    later.changed(told.history.state.trial(0))
    assert later.finish(0.0) == []
    assert list(told.log.read()).count(Discarded(0, at(9))) == 1


def test_a_driver_that_was_superseded_tells_nothing() -> None:
    told = Told()
    told.happens(proposed(0), placed(0))
    told.history.failure = Superseded("another driver went on")
    told.projection.changed(replace(told.history.state.trial(0), status="paused"))
    assert told.projection.finish(60.0) == [0]
    assert told.tracker.told == 0


def test_what_the_log_did_not_take_is_not_told() -> None:
    told = Told()
    told.happens(proposed(0), placed(0), proposed(1), placed(1))
    told.log.append = full  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(OSError, match="full"):
        told.happens(ended(0, "failed"), proposed(2))
    assert told.projection.finish(0.0) == []
    assert {each.status for each in told.tracker.trials.values()} == {"running"}
    assert list(told.tracker.trials) == [0, 1]


def full(group: object) -> None:
    raise OSError(28, "full")


def test_what_waits_to_be_written_is_told_when_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told without another change: the trial may do nothing for an hour."""
    monkeypatch.setattr(projection, "PATIENCE", 0.01)
    told = Told()
    told.happens(proposed(0), placed(0))
    told.history.flush()
    told.happens(reported(0, 1))
    wait_until(lambda: told.tracker.told > 2)
    assert told.tracker.trials[0].epoch == 0
    told.history.flush()
    wait_until(lambda: told.tracker.trials[0].epoch == 1)
    wait_until(lambda: not told.projection.waiting)
    assert told.projection.finish(0.0) == []


def test_what_is_written_while_its_trial_is_told_is_told_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Flushing(MemoryTracker):
        def tell(self, trial: Trial) -> None:
            super().tell(trial)
            told.history.flush()

    monkeypatch.setattr(projection, "PATIENCE", 0.01)
    told = Told(Flushing())
    told.happens(proposed(0), placed(0))
    told.happens(reported(0, 1))
    wait_until(lambda: 0 in told.tracker.trials and told.tracker.trials[0].epoch == 1)
    assert told.projection.finish(0.0) == []


def test_what_a_log_that_is_closed_never_takes_does_not_keep_a_session_from_ending() -> None:
    told = Told()
    told.happens(proposed(0), placed(0))
    told.happens(reported(0, 1))
    told.history.failure = OSError(28, "full")
    assert told.projection.finish(60.0) == []
    assert told.projection.waiting == {}


def test_a_mistake_in_this_program_is_not_taken_for_an_absent_server() -> None:
    class Mistaken(MemoryTracker):
        def tell(self, trial: Trial) -> None:
            raise KeyError("planted")

    told = Told(Mistaken())
    told.happens(proposed(0), placed(0))
    with pytest.raises(KeyError, match="planted"):
        told.projection.finish(0.0)
