"""Files that are whole or absent, on a disk or in an object store."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upath import UPath

AnyPath = Path | UPath
"""On a disk, or an address such as ``s3://BUCKET/KEY``."""


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
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.partial")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
