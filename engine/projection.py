"""Updates the MLflow tracker in a background thread, so that no trial waits for it.

Updates are not queued, because the study's state has every trial. Only the numbers of the trials
that the tracker is behind on are kept. While the tracking server is unavailable, nothing but these
numbers accumulates.
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
"""Seconds by which epochs are delayed, so that several are written together."""

AGAIN = 5.0
"""Seconds between two attempts while the tracking server is unavailable."""

AT_THE_END = 1.0
"""Seconds between two attempts at the end of the session, while the server is unavailable."""


def catch_up(tracker: Tracker, history: History) -> None:
    """Brings a tracker up to date with the log at the start of a session.

    Trials whose MLflow run the user has deleted since are logged as discarded.

    Raises:
        NotRecorded: If the tracking server is unavailable.
        OSError: If the log cannot be written.
    """
    _discard(history, sync(tracker, history.state))


def _discard(history: History, numbers: set[int]) -> None:
    for number in sorted(numbers - history.state.discarded):
        history.add(Discarded(number, history.now()))


class Projection:
    """A thread that keeps a tracker up to date; an observer of `engine.driver.Driver`.

    Args:
        tracker: Tracker to update; only this object may use it until `finish` returns.
        history: History of the study. Updates stop if another driver takes over the study.
        notify: Prints a message when the tracking server becomes unavailable, or is back.

    Attributes:
        seconds: Total time spent on updates, in seconds.
        problem: Last error of the unavailable server; empty while the server answers.
        waiting: Trial number -> ``time.monotonic()`` at which its update is due.
        deleted: Numbers of the trials whose MLflow run the user deleted.
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
        """Schedules an update of a trial: after `PATIENCE` while it is running, else at once."""
        with self.wake:
            if trial.number not in self.deleted:
                is_urgent = trial.status != "running"
                self._tell_at(trial.number, time.monotonic() + (0 if is_urgent else PATIENCE))
                if is_urgent:
                    self.wake.notify()
        self._put_down_deleted()

    def finish(self, patience: float) -> list[int]:
        """Writes the outstanding updates and ends the thread.

        Args:
            patience: Seconds to wait for an unavailable tracking server.

        Returns:
            Numbers of the trials whose updates could not be written.

        Raises:
            OSError: If the log cannot be written, for runs that the user deleted.
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
        """Logs which runs the user has deleted; only the main thread calls this."""
        if self.history.failure is None:
            with self.wake:
                deleted = set(self.deleted)
            _discard(self.history, deleted)

    def _work(self) -> None:
        try:
            while not self._is_over():
                self._wait()
                self._tell_due()
        except BaseException as error:  # a bug in this program: `finish` raises it
            self.error = error

    @property
    def is_ending(self) -> bool:
        """True once `finish` was called, after which no trial changes any more."""
        return self.deadline is not None

    def _is_over(self) -> bool:
        if self.history.is_superseded:
            return True
        if self.deadline is None:
            return False
        return not self.waiting or (bool(self.problem) and time.monotonic() > self.deadline)

    def _tell_at(self, number: int, due: float) -> None:
        """Schedules the update of a trial, unless an earlier one is scheduled."""
        self.waiting[number] = min(due, self.waiting.get(number, due))

    def _wait(self) -> None:
        """Waits until updates are due, or a new attempt is."""
        with self.wake:
            if not self.problem:
                self.wake.wait_for(lambda: self.is_ending or self._due(), self._left())
            elif not self.is_ending:
                self.wake.wait_for(lambda: self.is_ending, AGAIN)
            else:
                self.wake.wait(AT_THE_END)

    def _left(self) -> float:
        """Returns the seconds until the next update is due."""
        now = time.monotonic()
        return max(0.0, min(self.waiting.values(), default=now + PATIENCE) - now)

    def _due(self) -> list[int]:
        """Returns the numbers of the trials whose update is due.

        All waiting trials are due at the end, and after an attempt that the server did not answer.
        """
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
        """Updates one trial in the tracker; returns False if the server is unavailable."""
        with self.wake:
            self.waiting.pop(number, None)  # before the state is read: later changes are scheduled
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
        """Schedules another update of a trial with events that the log has only buffered.

        MLflow must never have epochs that a crash could still remove from the log.
        """
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
