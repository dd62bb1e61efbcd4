"""Says to other machines that a study runs here: two drivers would take the same trials.

On one machine a lock on the study's folder does that. Object stores have no locks, so a driver
writes a file anew every few seconds, and one that finds such a file watches whether it changes. No
clocks are compared. This is a courtesy: of two drivers that run a study nevertheless only one goes
on, as each piece of the log is written once (record/store_log.py).
"""

import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from upath import UPath

from datasets.errors import InputError
from datasets.files import away_is_an_oserror, write_whole
from record.folder import StudyFolder

BEAT = 10.0
"""Seconds between two signs of life."""

WATCHED = 2.5 * BEAT
"""Seconds without one after which a driver is taken for dead."""


@contextmanager
def lease(folder: StudyFolder, notify: Callable[[str], None]) -> Iterator[None]:
    """Holds a study in the shared storage, so that no other machine runs it.

    Args:
        folder: The study's, which this process has locked: what an earlier one left of the same
            folder says of nobody that lives.
        notify: Told why it takes a while.

    Raises:
        InputError: If another machine runs it.
        OSError: If the storage does not take the file.
    """
    check_free(folder, notify)
    file, who, ended = _file(folder), _here(folder), threading.Event()
    write_whole(file, _sign(who))

    def beat() -> None:
        while not ended.wait(BEAT):
            with suppress(OSError):  # the log, which must be written, says what is wrong
                if _holder(_read(file)) == who:
                    write_whole(file, _sign(who))

    beating = threading.Thread(target=beat, name="lease", daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        with suppress(OSError), away_is_an_oserror(file):
            if _holder(_read(file)) == who:
                file.unlink()


def check_free(folder: StudyFolder, notify: Callable[[str], None]) -> None:
    """Checks that no other machine runs a study; see `lease`. What a dead one left is removed.

    Raises:
        InputError: If one does.
    """
    file = _file(folder)
    found = _read(file)
    if found is None or _holder(found) == _here(folder):
        return
    notify(
        f"{_name(found)} ran this study and did not take its leave: seeing for {WATCHED:.0f} s "
        "whether it still does"
    )
    until = time.monotonic() + WATCHED
    while time.monotonic() < until:
        time.sleep(BEAT / 4)
        if (now := _read(file)) is None:
            return
        if now != found:
            raise InputError(
                f"{file.parent} is run by {_name(now)} now: wait for it or interrupt it, or give "
                "this study a --name of its own"
            )
    with suppress(FileNotFoundError), away_is_an_oserror(file):
        file.unlink()


def _file(folder: StudyFolder) -> UPath:
    assert folder.lease is not None
    return UPath(folder.lease)


def _here(folder: StudyFolder) -> str:
    """This machine and folder, for the user and beyond doubt: hosts may share a name."""
    if not folder.key.is_file():
        write_whole(folder.key, uuid.uuid4().hex.encode())
    key = folder.key.read_text(encoding="utf-8")
    return f"{platform.node()}:{folder.path.absolute()} {key}"


def _sign(who: str) -> bytes:
    return f"{who}\n{uuid.uuid4().hex}\n".encode()


def _holder(sign: bytes | None) -> str | None:
    return None if sign is None else sign.decode(errors="replace").split("\n")[0]


def _name(sign: bytes) -> str:
    holder = _holder(sign) or ""
    return holder.rpartition(" ")[0] or holder


def _read(file: UPath) -> bytes | None:
    with away_is_an_oserror(file):
        try:
            # In one request: the file may be written anew between a look at it and its reading.
            return bytes(file.fs.cat_file(file.path))  # pyright: ignore
        except FileNotFoundError:
            return None
