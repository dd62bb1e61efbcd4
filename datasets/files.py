"""Files that are whole or absent, on a disk or in an object store."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upath import UPath

AnyPath = Path | UPath
"""On a disk, or an address such as ``s3://BUCKET/KEY``."""

CANNOT_FLUSH_FOLDERS = (errno.EINVAL, errno.ENOTSUP)
"""What file systems say that flush files only, some network and FUSE ones."""


@contextmanager
def away_is_an_oserror(path: AnyPath) -> Iterator[None]:
    """Makes an OSError, as a disk would raise, of what an object store's client raises where the
    store is away or does not know the user."""
    if isinstance(path, Path):
        yield
        return
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except BotoCoreError as error:
        raise OSError(errno.EIO, " ".join(str(error).split()), str(path)) from error


def write_whole(path: AnyPath, content: bytes | memoryview) -> None:
    """Writes a file: on a disk beside, flushed, then renamed; an object store does as much itself.

    Of several who write it at once, the file is one's, whole.

    Args:
        path: Where to, folders that are not there included.
        content: All of it.

    Raises:
        OSError: If it cannot be written; an earlier file is then as before.
    """
    if not isinstance(path, Path):
        with away_is_an_oserror(path):
            path.write_bytes(bytes(content))
        return
    with _written_beside(path, content) as beside:
        beside.rename(path)


def write_new(path: AnyPath, content: bytes) -> None:
    """Writes a file that nobody wrote yet: of several who try at once, one succeeds.

    Raises:
        FileExistsError: If it is there with another content.
        OSError: If it cannot be written; there is nothing then.
    """
    try:
        if isinstance(path, Path):
            _link(path, content)
        else:
            with away_is_an_oserror(path):
                path.fs.pipe_file(path.path, content, mode="create")
    except FileExistsError:
        # A client that did not hear the store's answer asks again, and finds its own.
        with away_is_an_oserror(path):
            if path.read_bytes() != content:
                raise


def put_in_place(beside: Path, path: Path) -> None:
    """Gives a file or a folder that was written beside its name, after its content is on the disk:
    also after a power cut it is there whole or not at all.

    Raises:
        OSError: If it cannot; where both are folders, for one that is there already.
    """
    for each in (beside, *beside.rglob("*")):
        _flush(each)
    beside.rename(path)
    _flush(path.parent)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a path beside another one to write a file or a folder to, which then gets its name: it
    is there whole or not at all, also after a power cut.

    Args:
        path: Where it is to be, folders that are not there included.

    Yields:
        A path that nobody else writes to. What is there when the writing fails is removed.

    Raises:
        OSError: If it cannot be written, or a folder that is not empty is at the path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        yield beside
        put_in_place(beside, path)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")


def _link(path: Path, content: bytes) -> None:
    with _written_beside(path, content) as beside:
        os.link(beside, path)


@contextmanager
def _written_beside(path: Path, content: bytes | memoryview) -> Iterator[Path]:
    """A file beside another, of nobody else's name, to be renamed or linked; then the folder is
    flushed, since else the power may go before the disk knows the new name."""
    beside = _beside(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield beside
    finally:
        beside.unlink(missing_ok=True)
    _flush(path.parent)


def _flush(path: Path) -> None:
    """Waits until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in CANNOT_FLUSH_FOLDERS):
            raise
    finally:
        os.close(descriptor)
