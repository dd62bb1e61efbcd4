"""Prints an error message for the user if this process is killed from outside."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

WORDS = (
    "error: the study was killed from outside, for want of memory perhaps, or by Ray, which ends "
    "its driver where its own processes are gone; nothing is lost: the same command goes on"
)

LISTEN = 'read -r over || echo "$0" >&2'
"""Shell script that prints its ``$0`` to stderr if its stdin ends before a line arrives.

The pipe ends without a line if the writing process was killed.
"""


@contextmanager
def last_words() -> Iterator[None]:
    """Starts a helper process that prints `WORDS` if this process is killed in the meantime."""
    listener = subprocess.Popen(
        ["/bin/sh", "-c", LISTEN, WORDS], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        listener.communicate(b"over\n")
