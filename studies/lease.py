"""Says to other machines that a study runs here: two drivers would take the same trials.

On one machine a lock on the study's folder does that. Object stores have no locks, so a driver
writes a file anew every few seconds, and one that finds such a file watches whether it changes. No
clocks are compared.
"""

import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from upath import UPath

from datasets.errors import InputError
from datasets.files import away_is_an_oserror, write_new, write_whole

FILE = "driver"

BEAT = 10.0
"""Seconds between two signs of life."""

WATCHED = 2.5 * BEAT
"""Seconds without one after which a driver is taken for dead."""


@contextmanager
def lease(store: UPath, folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Holds a study, so that no other machine runs it.

    Args:
        store: The study's folder in the shared storage.
        folder: The study's folder on this disk, which this process has locked: what an earlier
            one left of the same folder says of nobody that lives.
        say: Told why it takes a while.

    Raises:
        InputError: If another machine runs it.
        OSError: If the storage does not take the file.
    """
    file = store / FILE
    who = f"{platform.node()}:{folder.absolute()}"
    if (found := _read(file)) is not None:
        if _holder(found) != who:
            _watch(file, found, say)
        with away_is_an_oserror(file):
            file.unlink(missing_ok=True)
    try:
        write_new(file, _sign(who))
    except FileExistsError:
        raise _runs_elsewhere(file, _read(file) or b"another machine") from None
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(file, who, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        with suppress(OSError), away_is_an_oserror(file):
            file.unlink()


def _watch(file: UPath, found: bytes, say: Callable[[str], None]) -> None:
    say(
        f"{_holder(found)} ran this study and did not take its leave: seeing for {WATCHED:.0f} s "
        "whether it still does"
    )
    until = time.monotonic() + WATCHED
    while time.monotonic() < until:
        time.sleep(BEAT / 4)
        if (now := _read(file)) != found:
            if now is None:
                return
            raise _runs_elsewhere(file, now)


def _runs_elsewhere(file: UPath, sign: bytes) -> InputError:
    return InputError(
        f"{file.parent} is run by {_holder(sign)} now: wait for it or interrupt it, or give this "
        "study a --name of its own"
    )


def _beat(file: UPath, who: str, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):  # the journal's copy, which must be written, says what is wrong
            write_whole(file, _sign(who))


def _sign(who: str) -> bytes:
    return f"{who}\n{uuid.uuid4().hex}\n".encode()


def _holder(sign: bytes) -> str:
    return sign.decode(errors="replace").split("\n")[0]


def _read(file: UPath) -> bytes | None:
    with away_is_an_oserror(file):
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return None
