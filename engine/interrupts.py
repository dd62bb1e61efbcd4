"""Ctrl-C once ends a session well, twice at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engine.agenda import Agenda
from engine.budgets import Stop

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(agenda: Agenda, notify: Callable[[str], None]) -> Iterator[None]:
    """While trials run: the first signal lets the epochs under way end, the second one raises.

    Args:
        agenda: What the session runs.
        notify: Where to say that the signal was heard.

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
    except Exception as error:  # a call of Ray makes a SystemError of it
        if twice:
            raise KeyboardInterrupt from error
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
