"""Keeps a study's log and state in step: an event is validated, written, and only then visible."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from record.appender import Appender
from record.events import Event, SessionBegan, SessionEnded
from record.log import Superseded
from record.state import StudyState
from record.trial import Trial


class CutShort(OSError):
    """Writing was interrupted by something unrelated to the log, such as Ctrl-C."""


def utc_now() -> datetime:
    """Returns the current time in UTC."""
    return datetime.now(UTC)


def _nothing() -> Iterable[Event]:
    return ()


class History:
    """The event history of a study, to which only the main thread adds.

    After a failed write nothing more is written, because the state is then ahead of the log.

    Args:
        appender: Writes the log.
        state: State that results from the events in the log.
        now: Returns the time of an event, in UTC.

    Attributes:
        failure: Why nothing is written any more; None while writing works.
        unwritten: Numbers of the trials whose events the state has but the log could not take.
        pending: Trial number -> the trial as it is in the log (None if it is not), for trials with
            events that are buffered.
        seconds: Total time spent on proposing and writing, in seconds.
    """

    def __init__(
        self, appender: Appender, state: StudyState, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.appender = appender
        self.state = state
        self.now = now
        self.failure: OSError | None = None
        self.unwritten: set[int] = set()
        self.pending: dict[int, Trial | None] = {}
        self.seconds = 0.0
        self.lock = threading.RLock()

    @property
    def is_superseded(self) -> bool:
        """True if another driver has taken over the study, so that this one must write nothing."""
        return isinstance(self.failure, Superseded)

    def add(self, *events: Event, then: Callable[[], Iterable[Event]] = _nothing) -> None:
        """Applies events to the state and appends them to the log.

        Events that must be durable are so on return; reports may be buffered.

        Args:
            events: The events, in order.
            then: Yields events that follow from these. They are written in the same group, all or
                nothing. The state has applied `events` before the first one is requested, and each
                one before the next.

        Raises:
            IllegalEvent: If an event contradicts the state; nothing of the group is logged.
            OSError: If the log cannot be written, or an earlier write failed.
        """
        self._check()
        begun, group = time.perf_counter(), list(events)
        with self.lock:
            try:
                self._apply(group)
                for following in then():
                    self._apply([following])
                    group.append(following)
                self.appender.append(*group)
                self._forget_written()
            except BaseException as error:
                self._close(error, group)
                raise
        self.seconds += time.perf_counter() - begun

    def flush(self, only_if_due: bool = False) -> None:
        """Writes the buffered reports to the log.

        Args:
            only_if_due: Write only if they have been buffered for long.

        Raises:
            OSError: If the log cannot be written, or an earlier write failed.
        """
        self._check()
        with self.lock:
            try:
                (self.appender.flush_if_due if only_if_due else self.appender.flush)()
                self._forget_written()
            except BaseException as error:
                self._close(error, self.appender.waiting)
                raise

    def trial(self, number: int) -> Trial | None:
        """Returns a trial's current state; None if the log failed to take it. Thread-safe."""
        with self.lock:
            return None if number in self.unwritten else self.state.trial(number)

    def written(self, number: int) -> Trial | None:
        """Returns a trial as it is durably in the log, without buffered events. Thread-safe.

        Returns None if the log has nothing of it, or if another driver has taken over the study.
        """
        with self.lock:
            return (
                None if self.is_superseded else self.pending.get(number, self.state.known(number))
            )

    def is_pending(self, number: int) -> bool:
        """Returns True if a trial has events that are not yet written. Thread-safe."""
        with self.lock:
            return number in self.pending

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _apply(self, events: Sequence[Event]) -> None:
        for event in events:
            if not isinstance(event, SessionBegan | SessionEnded):
                self.pending.setdefault(event.number, self.state.known(event.number))
            self.state.apply(event)

    def _forget_written(self) -> None:
        if not self.appender.waiting:
            self.pending.clear()

    def _close(self, error: BaseException, group: Sequence[Event]) -> None:
        """Stops all further writing after any error: the log may end in half a line."""
        cut_short = CutShort(f"the log was not written: {error!r}")
        self.failure = error if isinstance(error, OSError) else cut_short
        self.unwritten |= {
            event.number for event in group if not isinstance(event, SessionBegan | SessionEnded)
        }
