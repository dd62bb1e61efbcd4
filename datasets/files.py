"""Atomic file writes, on a disk or in an object store."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upath import UPath

AnyPath = Path | UPath
"""A path on a disk, or an address such as ``s3://BUCKET/KEY``."""

CANNOT_FLUSH_FOLDERS = (errno.EINVAL, errno.ENOTSUP)
"""Error codes of file systems that cannot flush folders, such as some network and FUSE ones."""


@contextmanager
def away_is_an_oserror(path: AnyPath) -> Iterator[None]:
    """Converts errors of an object store's client, such as an unreachable store or missing
    credentials, to OSError, as a disk would raise it.

    Args:
        path: The path that is accessed in the block; for one on a disk nothing is converted.

    Raises:
        OSError: In place of the client's error.
    """
    if isinstance(path, Path):
        yield
        return
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except BotoCoreError as error:
        raise OSError(errno.EIO, " ".join(str(error).split()), str(path)) from error


def write_whole(path: AnyPath, content: bytes | memoryview) -> None:
    """Writes a file atomically: on a disk to a temporary name that is flushed and then renamed; an
    object store writes atomically by itself.

    If several processes write at once, the file is that of one of them.

    Args:
        path: The file; missing folders are created.
        content: The whole content.

    Raises:
        OSError: If it cannot be written; an existing file is then unchanged.
    """
    if not isinstance(path, Path):
        with away_is_an_oserror(path):
            path.write_bytes(bytes(content))
        return
    with _written_beside(path, content) as beside:
        beside.rename(path)


def write_new(path: AnyPath, content: bytes) -> None:
    """Creates a file atomically; if several processes try at once, exactly one succeeds.

    Raises:
        FileExistsError: If the file exists with other content.
        OSError: If it cannot be written; no file is left then.
    """
    try:
        if isinstance(path, Path):
            _link(path, content)
        else:
            with away_is_an_oserror(path):
                path.fs.pipe_file(path.path, content, mode="create")
    except FileExistsError:
        # A client that misses the store's reply retries, and then finds its own file.
        with away_is_an_oserror(path):
            if path.read_bytes() != content:
                raise


def put_in_place(beside: Path, path: Path) -> None:
    """Renames a temporary file or folder to its final name, after flushing its content to the
    disk, so that even after a power cut it is there whole or not at all.

    Args:
        beside: The temporary file or folder, in the same folder as `path`.
        path: The final name.

    Raises:
        OSError: If that fails, for example because `path` is a folder that is not empty.
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
    """Yields a temporary file with the content, to be renamed or linked to `path` in the block.

    The file has a unique name in the same folder and is flushed. The folder is flushed after the
    block, so that the new name survives a power cut.
    """
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
    """Flushes a file's content, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in CANNOT_FLUSH_FOLDERS):
            raise
    finally:
        os.close(descriptor)
