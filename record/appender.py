"""Gathers events into groups: what has to be durable at once, with what can wait."""

import time
from collections.abc import Callable

from record.events import DURABLE, Event
from record.log import Log

PATIENCE = 5.0
"""Seconds that reports wait at most for an event that has to be written at once."""


class Appender:
    """The writer of a log.

    Args:
        log: Where groups go.
        clock: Tells the time, in seconds.
    """

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = log
        self.clock = clock
        self.begun = clock()
        self.oldest: float | None = None
        self.waiting: list[Event] = []

    def append(self, *events: Event) -> None:
        """Takes events that belong together; they are durable when this returns, if one of them
        has to be.

        Raises:
            OSError: If the log does not take them; see `Log.append`.
        """
        if not events:
            return
        self.waiting += events
        if self.oldest is None:
            self.oldest = self.clock()
        if any(isinstance(event, DURABLE) for event in events):
            self.flush()
        else:
            self.flush_if_due()

    def flush_if_due(self) -> None:
        """Writes what has waited long enough; for who has nothing to append."""
        if self.oldest is None:
            return
        now = self.clock()
        if now - self.oldest >= max(PATIENCE, self.log.share * (now - self.begun)):
            self.flush()

    def flush(self) -> None:
        """Writes everything that waits."""
        if self.waiting:
            self.log.append(self.waiting)
            self.waiting, self.oldest = [], None
