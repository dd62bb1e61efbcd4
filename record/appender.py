"""Buffers events that can wait, and writes them to the log with the next durable event."""

import time
from collections.abc import Callable

from record.events import DURABLE, Event
from record.log import Log

PATIENCE = 5.0
"""Minimum seconds for which reports are buffered if no durable event comes.

A log with a positive `Log.share` lets them wait longer.
"""


class Appender:
    """Writes events to a log in groups.

    Args:
        log: The log.
        clock: Returns a monotonic time, in seconds.

    Attributes:
        waiting: Events that are buffered.
        oldest: Time at which the oldest of them was appended; None if there are none.
    """

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = log
        self.clock = clock
        self.begun = clock()
        self.oldest: float | None = None
        self.waiting: list[Event] = []

    def append(self, *events: Event) -> None:
        """Appends events that belong together.

        If one of them must be durable, all buffered events are in the log on return.

        Raises:
            OSError: If the log cannot be written; see `Log.append`.
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
        """Writes the buffered events if they have waited long enough."""
        if self.oldest is None:
            return
        now = self.clock()
        if now - self.oldest >= max(PATIENCE, self.log.share * (now - self.begun)):
            self.flush()

    def flush(self) -> None:
        """Writes all buffered events."""
        if self.waiting:
            self.log.append(self.waiting)
            self.waiting, self.oldest = [], None
