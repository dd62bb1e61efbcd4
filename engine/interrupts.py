"""Signal handling: one Ctrl-C ends a session gracefully, a second one immediately."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engine.agenda import Agenda
from engine.budgets import Stop

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(agenda: Agenda, notify: Callable[[str], None]) -> Iterator[None]:
    """Handles SIGINT and SIGTERM while trials run.

    The first signal halts the session after the current epochs; the second one raises.

    Args:
        agenda: Queue of the session, which is halted.
        notify: Prints a message for the user.

    Raises:
        KeyboardInterrupt: On the second signal.
    """

    twice = False

    def at_once(*_: object) -> None:
        nonlocal twice
        twice = True
        raise KeyboardInterrupt

    def well(*_: object) -> None:
        for each in ENDING:
            signal.signal(each, at_once)
        agenda.halt(Stop("interrupted", "interrupted"))
        notify("ending after the epochs under way; Ctrl-C again ends at once")

    before = {each: signal.signal(each, well) for each in ENDING}
    try:
        yield
    except Exception as error:  # a call into Ray turns the KeyboardInterrupt into a SystemError
        if twice:
            raise KeyboardInterrupt from error
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
