"""A tracker is told in the background, so that no trial waits for it.

What is to be told is never queued: the study knows how each trial stands. Kept here are only the
numbers of the trials of which the tracker does not know everything yet. While it is away these
pile up and nothing else does.
"""

import threading
import time
from collections.abc import Callable

from record.events import Discarded
from record.tracker import NotRecorded, RunDeleted, Tracker, bring_up
from record.trial import Trial
from studies.history import History

PATIENCE = 15.0
"""Seconds that epochs are kept back, so that several are written together."""

AGAIN = 5.0
"""Seconds between two attempts while the tracking server is away."""

AT_THE_END = 1.0
"""The same when nothing else is left to do."""


def catch_up(tracker: Tracker, history: History) -> None:
    """Shows a study as the log knows it, at the beginning of a session; what the user deleted
    since the last one is put down as discarded.

    Raises:
        NotRecorded: If the tracking server is away.
        OSError: If the log does not take it.
    """
    _discard(history, bring_up(tracker, history.state))


def _discard(history: History, numbers: set[int]) -> None:
    for number in sorted(numbers - history.state.discarded):
        history.add(Discarded(number, history.now()))


class Projection:
    """A thread that brings a tracker up to date; an observer of `studies.trials.Trials`.

    Args:
        tracker: Is told; nobody else uses it while this one is at work.
        history: Of the study. Where it is superseded, nothing more is told.
        say: Told when the tracking server goes away and when it is back.

    Attributes:
        seconds: What telling took so far.
    """

    def __init__(self, tracker: Tracker, history: History, say: Callable[[str], None]) -> None:
        self.tracker = tracker
        self.history = history
        self.say = say
        self.seconds = 0.0
        self.problem = ""
        self.waiting: dict[int, None] = {}
        self.deleted = set(history.state.discarded)
        self.error: BaseException | None = None
        self.wake = threading.Condition()
        self.is_urgent = False
        self.deadline: float | None = None
        self.thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self.thread.start()

    def changed(self, trial: Trial) -> None:
        """See `studies.trials.Observer`. Epochs wait for more of them, nothing else does."""
        with self.wake:
            if trial.number not in self.deleted:
                self.waiting[trial.number] = None
                self.is_urgent |= trial.status != "running"
                self.wake.notify()
        self._put_down_deleted()

    def finish(self, patience: float) -> list[int]:
        """Tells the rest, and ends.

        Args:
            patience: Seconds to wait for a tracking server that is away.

        Returns:
            Numbers of the trials of which the tracker does not know everything.

        Raises:
            OSError: If the log does not take that a run was deleted.
        """
        with self.wake:
            self.deadline = time.monotonic() + patience
            self.wake.notify()
        self.thread.join()
        if self.error is not None:
            raise self.error
        self._put_down_deleted()
        return sorted(self.waiting)

    def _put_down_deleted(self) -> None:
        """Writes down which runs the user deleted since; only the main thread writes."""
        if self.history.failure is None:
            with self.wake:
                deleted = set(self.deleted)
            _discard(self.history, deleted)

    def _work(self) -> None:
        try:
            while not self._is_over():
                self._wait()
                self._tell_all()
        except BaseException as error:  # a mistake in this program: `finish` raises it
            self.error = error

    @property
    def is_ending(self) -> bool:
        """Whether nothing is added to what waits any more."""
        return self.deadline is not None

    def _is_over(self) -> bool:
        if self.history.is_superseded:
            return True
        if self.deadline is None:
            return False
        return not self.waiting or (bool(self.problem) and time.monotonic() > self.deadline)

    def _wait(self) -> None:
        """Waits until there is a reason to tell what waits."""
        with self.wake:
            if not self.problem:
                self.wake.wait_for(lambda: self.is_urgent or self.is_ending, PATIENCE)
            elif not self.is_ending:
                self.wake.wait_for(lambda: self.is_ending, AGAIN)
            else:
                self.wake.wait(AT_THE_END)
            self.is_urgent = False

    def _tell_all(self) -> None:
        begun = time.perf_counter()
        for number in tuple(self.waiting):
            if self.history.is_superseded or not self._tell(number):
                break
        self.seconds += time.perf_counter() - begun

    def _tell(self, number: int) -> bool:
        """Tells how a trial stands; returns whether the tracking server is there."""
        with self.wake:
            self.waiting.pop(number, None)  # before it is read: what comes later counts anew
        is_behind = self.history.is_pending(number)
        trial = self.history.written(number)
        if trial is None:
            return True
        try:
            self.tracker.tell(trial)
        except RunDeleted as deleted:
            self._forget(deleted.number)
        except NotRecorded as error:
            self._is_away(number, error)
            return False
        self._is_back()
        if is_behind:
            self._look_again(number)
        return True

    def _look_again(self, number: int) -> None:
        """MLflow never knows what a crash could take from the log: what waits to be written there
        is told afterwards."""
        with self.wake:
            if not self.is_ending:
                self.waiting[number] = None

    def _forget(self, number: int) -> None:
        with self.wake:
            self.deleted.add(number)
            self.waiting.pop(number, None)

    def _is_away(self, number: int, error: NotRecorded) -> None:
        with self.wake:
            self.waiting[number] = None
        if not self.problem:
            self.say(
                f"MLflow cannot be told ({error}); the study goes on, and what it has to record "
                "waits in its log"
            )
        self.problem = str(error)

    def _is_back(self) -> None:
        if self.problem:
            self.problem = ""
            self.say("MLflow can be told again; what waited is being delivered")
