"""A lease on a study in shared storage, so that no two machines run the same trials.

On one machine a lock on the study's folder prevents that. Object stores have no locks, so a driver
rewrites a lease file every few seconds, and another driver that finds the file watches whether it
changes. No clocks are compared. The lease is advisory: if two drivers run a study nevertheless,
only one continues, because each piece of the log can be written only once (record/store_log.py).
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
"""Seconds between two renewals of the lease file."""

WATCHED = 2.5 * BEAT
"""Seconds without a renewal after which a lease counts as abandoned."""


@contextmanager
def lease(folder: StudyFolder, notify: Callable[[str], None]) -> Iterator[None]:
    """Holds the lease of a study in shared storage, so that no other machine runs the study.

    Args:
        folder: Folder of the study, which this process has locked locally. A lease left behind by
            an earlier process of the same folder is therefore stale.
        notify: Prints why this takes a while.

    Raises:
        InputError: If another machine is running the study.
        OSError: If the lease file cannot be written.
    """
    check_free(folder, notify)
    file, who, ended = _file(folder), _here(folder), threading.Event()
    write_whole(file, _sign(who))

    def beat() -> None:
        while not ended.wait(BEAT):
            with suppress(OSError):  # a failing storage is reported when the log is written
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
    """Checks that no other machine holds the lease of a study, and removes an abandoned lease.

    Another machine's lease is watched for `WATCHED` seconds.

    Raises:
        InputError: If another machine renews or replaces the lease meanwhile.
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
    """Identifies this machine and folder, with a random key because hosts may share a name."""
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
            # One request: the file may be rewritten between a query of its size and the read.
            return bytes(file.fs.cat_file(file.path))  # pyright: ignore
        except FileNotFoundError:
            return None
