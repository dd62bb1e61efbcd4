"""One line for a process that is ended without being able to say so itself."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

WORDS = (
    "error: the study was killed from outside, for want of memory perhaps, or by Ray, which ends "
    "its driver where its own processes are gone; nothing is lost: the same command goes on"
)

LISTEN = 'read -r over || echo "$0" >&2'
"""Waits for a line, or for the end of the pipe, which comes without one where the writer died."""


@contextmanager
def last_words() -> Iterator[None]:
    """Has a small process say it if this one is ended from outside meanwhile."""
    listener = subprocess.Popen(
        ["/bin/sh", "-c", LISTEN, WORDS], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        listener.communicate(b"over\n")
