"""A tracker is told in the background, so that no trial waits for it.

What is to be told is never queued: the study knows how each trial stands. Kept here are only the
numbers of the trials of which the tracker does not know everything yet. While it is away these
pile up and nothing else does.
"""

import math
import threading
import time
from collections.abc import Callable

from engine.history import History
from record.events import Discarded
from record.tracker import NotRecorded, RunDeleted, Tracker, sync
from record.trial import Trial

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
    _discard(history, sync(tracker, history.state))


def _discard(history: History, numbers: set[int]) -> None:
    for number in sorted(numbers - history.state.discarded):
        history.add(Discarded(number, history.now()))


class Projection:
    """A thread that brings a tracker up to date; an observer of `engine.driver.Driver`.

    Args:
        tracker: Is told; nobody else uses it while this one is at work.
        history: Of the study. Where it is superseded, nothing more is told.
        notify: Told when the tracking server goes away and when it is back.

    Attributes:
        seconds: What telling took so far.
        problem: Why the tracker cannot be told; empty while it can.
    """

    def __init__(self, tracker: Tracker, history: History, notify: Callable[[str], None]) -> None:
        self.tracker = tracker
        self.history = history
        self.notify = notify
        self.seconds = 0.0
        self.problem = ""
        self.waiting: dict[int, float] = {}
        self.deleted = set(history.state.discarded)
        self.error: BaseException | None = None
        self.wake = threading.Condition()
        self.deadline: float | None = None
        self.thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self.thread.start()

    def changed(self, trial: Trial) -> None:
        """See `engine.driver.Observer`. Epochs wait for more of them, nothing else does."""
        with self.wake:
            if trial.number not in self.deleted:
                is_urgent = trial.status != "running"
                self._tell_at(trial.number, time.monotonic() + (0 if is_urgent else PATIENCE))
                if is_urgent:
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
                self._tell_due()
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

    def _tell_at(self, number: int, due: float) -> None:
        """A trial is to be told then, if it is not sooner."""
        self.waiting[number] = min(due, self.waiting.get(number, due))

    def _wait(self) -> None:
        """Waits until there is a reason to tell what waits."""
        with self.wake:
            if not self.problem:
                self.wake.wait_for(lambda: self.is_ending or self._due(), self._left())
            elif not self.is_ending:
                self.wake.wait_for(lambda: self.is_ending, AGAIN)
            else:
                self.wake.wait(AT_THE_END)

    def _left(self) -> float:
        """Seconds until something is due."""
        now = time.monotonic()
        return max(0.0, min(self.waiting.values(), default=now + PATIENCE) - now)

    def _due(self) -> list[int]:
        """Numbers of the trials that are to be told now: all of them at the end, and when the
        tracking server may be back."""
        now = math.inf if self.is_ending or self.problem else time.monotonic()
        return [number for number, due in self.waiting.items() if due <= now]

    def _tell_due(self) -> None:
        begun = time.perf_counter()
        with self.wake:
            numbers = self._due()
        for number in numbers:
            if self.history.is_superseded or not self._tell(number):
                break
        self.seconds += time.perf_counter() - begun

    def _tell(self, number: int) -> bool:
        """Tells how a trial stands; returns whether the tracking server is there."""
        with self.wake:
            self.waiting.pop(number, None)  # before it is read: what comes later is told anew
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
                self._tell_at(number, time.monotonic() + PATIENCE)

    def _forget(self, number: int) -> None:
        with self.wake:
            self.deleted.add(number)
            self.waiting.pop(number, None)

    def _is_away(self, number: int, error: NotRecorded) -> None:
        with self.wake:
            self._tell_at(number, 0.0)
        if not self.problem:
            self.notify(
                f"MLflow cannot be told ({error}); the study goes on, and what it has to record "
                "waits in its log"
            )
        self.problem = str(error)

    def _is_back(self) -> None:
        if self.problem:
            self.problem = ""
            self.notify("MLflow can be told again; what waited is being delivered")
