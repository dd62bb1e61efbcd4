"""The log of a study and its state, in step: an event is checked, written, and only then seen."""

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
    """Something ended the writing that has nothing to do with the log, such as Ctrl-C."""


def utc_now() -> datetime:
    """What time it is."""
    return datetime.now(UTC)


def _nothing() -> Iterable[Event]:
    return ()


class History:
    """What happened to a study, and where more is added; by one thread, the main one.

    After something could not be written nothing more is: what would follow from it is not in the
    log, and the state is ahead of it.

    Args:
        appender: Writes the log.
        state: The sum of the events in it.
        now: Tells the time at which something happens, UTC.

    Attributes:
        failure: Why nothing is written any more; None: all is well.
        unwritten: Numbers of the trials of which the state knows what the log does not take.
        pending: Number -> the trial as the log has it, where events of it wait to be written.
        seconds: What proposing and writing took so far.
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
        """Whether another driver went on with the study: this one writes nothing, anywhere."""
        return isinstance(self.failure, Superseded)

    def add(self, *events: Event, then: Callable[[], Iterable[Event]] = _nothing) -> None:
        """Takes in what happened; what has to be durable is so when this returns.

        Args:
            events: What happened, in order.
            then: Gives what follows from it, and is written with it, all or nothing. The state
                has taken in `events` before, and each event before the next one is asked for.

        Raises:
            IllegalEvent: If something cannot have happened; the log has nothing of it.
            OSError: If the log does not take it, or did not take something before.
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
        """Writes the reports that wait.

        Args:
            only_if_due: Leave those that have not waited for long.

        Raises:
            OSError: If the log does not take them, or did not take something before.
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
        """A trial as it stands; None if the log does not know it so. Any thread may ask."""
        with self.lock:
            return None if number in self.unwritten else self.state.trial(number)

    def written(self, number: int) -> Trial | None:
        """A trial as far as the log has it for good; None if it has nothing of it, or another
        driver went on with the study, so that this one has nothing to say. Any thread may ask."""
        with self.lock:
            return (
                None if self.is_superseded else self.pending.get(number, self.state.known(number))
            )

    def is_pending(self, number: int) -> bool:
        """Whether something of a trial waits to be written. Any thread may ask."""
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
        """Nothing is added any more, whatever the error: half a line may be in the log."""
        cut_short = CutShort(f"the log was not written: {error!r}")
        self.failure = error if isinstance(error, OSError) else cut_short
        self.unwritten |= {
            event.number for event in group if not isinstance(event, SessionBegan | SessionEnded)
        }
