"""Says to other machines that a study runs here: two drivers would take the same trials.

On one machine a lock on the study's folder does that. Object stores have no locks, so a driver
writes a file anew every few seconds, and one that finds such a file watches whether it changes. No
clocks are compared.
"""

import errno
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

KEY = "driver"
"""File in the study's folder on this disk: what tells it from all others."""

BEAT = 10.0
"""Seconds between two signs of life."""

WATCHED = 2.5 * BEAT
"""Seconds without one after which a driver is taken for dead."""


class Lease:
    """What a driver that holds a study has written last.

    Args:
        file: Where all drivers look.
        who: This one, for others.
    """

    def __init__(self, file: UPath, who: str) -> None:
        self.file = file
        self.who = who
        self.written = self._sign()
        write_new(file, self.written)
        self.ended = threading.Event()
        self.beating = threading.Thread(target=self._beat, daemon=True)
        self.beating.start()

    def check(self) -> None:
        """Checks that nobody else has taken the study.

        Raises:
            OSError: If somebody has, or the storage does not answer.
        """
        found = _read(self.file)
        if found is not None and _who(found) != self.who:
            elsewhere = f"the study was taken by {_name(found)}"
            raise OSError(errno.EEXIST, elsewhere, str(self.file.parent))

    def end(self) -> None:
        """Takes its leave."""
        self.ended.set()
        self.beating.join()
        with suppress(OSError), away_is_an_oserror(self.file):
            self.check()
            self.file.unlink()

    def _beat(self) -> None:
        while not self.ended.wait(BEAT):
            with suppress(
                OSError
            ):  # the journal's copy, which must be written, says what is wrong
                self.check()
                write_whole(self.file, self._sign())

    def _sign(self) -> bytes:
        return f"{self.who}\n{uuid.uuid4().hex}\n".encode()


@contextmanager
def lease(store: UPath, folder: Path, say: Callable[[str], None]) -> Iterator[Lease]:
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
    check_free(store, folder, say)
    found = _read(file)
    if found is not None and _who(found) == _here(folder):  # never one that has come since
        with away_is_an_oserror(file):
            file.unlink()
    try:
        held = Lease(file, _here(folder))
    except FileExistsError:
        raise _runs_elsewhere(file, _read(file) or b"another machine") from None
    try:
        yield held
    finally:
        held.end()


def check_free(store: UPath, folder: Path, say: Callable[[str], None]) -> None:
    """Checks that no other machine runs a study; see `lease`. What a dead one left is removed.

    Raises:
        InputError: If one does.
    """
    file = store / FILE
    found = _read(file)
    if found is None or _who(found) == _here(folder):
        return
    say(
        f"{_name(found)} ran this study and did not take its leave: seeing for {WATCHED:.0f} s "
        "whether it still does"
    )
    until = time.monotonic() + WATCHED
    while time.monotonic() < until:
        time.sleep(BEAT / 4)
        if (now := _read(file)) != found:
            if now is None:
                return
            raise _runs_elsewhere(file, now)
    with suppress(FileNotFoundError), away_is_an_oserror(file):
        file.unlink()


def _runs_elsewhere(file: UPath, sign: bytes) -> InputError:
    return InputError(
        f"{file.parent} is run by {_name(sign)} now: wait for it or interrupt it, or give this "
        "study a --name of its own"
    )


def _here(folder: Path) -> str:
    """This machine and folder, for the user and beyond doubt: hosts may share a name."""
    key = folder / KEY
    if not key.is_file():
        write_whole(key, uuid.uuid4().hex.encode())
    return f"{platform.node()}:{folder.absolute()} {key.read_text(encoding='utf-8')}"


def _who(sign: bytes) -> str:
    return sign.decode(errors="replace").split("\n")[0]


def _name(sign: bytes) -> str:
    return _who(sign).rpartition(" ")[0] or _who(sign)


def _read(file: UPath) -> bytes | None:
    with away_is_an_oserror(file):
        try:
            # In one request: the file may be written anew between a look at it and its reading.
            return bytes(file.fs.cat_file(file.path))  # pyright: ignore
        except FileNotFoundError:
            return None
