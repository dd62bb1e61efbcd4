"""The storage that the nodes of a cluster share: found fit before any trial starts."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upath import UPath

from datasets.addresses import shown
from datasets.errors import InputError, described
from datasets.files import away_is_an_oserror, write_new
from engine.checkpoints import as_upath


def open_storage(text: str) -> UPath:
    """The folder that ``--storage`` names, written to and read from once.

    Raises:
        InputError: If that fails: the message says why.
    """
    if shown(text) != text:
        raise InputError(
            f"--storage {shown(text)}: expected no user or password in it, since it is recorded; "
            "credentials come from the environment, such as AWS_ACCESS_KEY_ID"
        )
    with _refused(text):
        root = as_upath(text)
        if isinstance(root, Path):
            root.mkdir(parents=True, exist_ok=True)
        with probe(root):
            pass
    return root


@contextmanager
def probe(root: UPath) -> Iterator[UPath]:
    """A file in a storage, for others to look at."""
    file = root / f"probe-{uuid.uuid4().hex}"
    with away_is_an_oserror(root):
        write_new(file, file.name.encode())
        if file.read_bytes() != file.name.encode():
            raise OSError(f"{file} does not hold what was written to it")
        if not _is_exclusive(file):
            raise OSError(f"{file} could be written over by another driver")
    try:
        yield file
    finally:
        with away_is_an_oserror(root):
            file.unlink()


def _is_exclusive(file: UPath) -> bool:
    """Whether a file that is there is left alone by who wants to write a new one."""
    try:
        write_new(file, b"another")
    except FileExistsError:
        return True
    return False


@contextmanager
def _refused(text: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(
            f"--storage {text}: there is no such bucket or folder ({described(error)}); make it "
            "first, or correct the name"
        ) from error
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            f"--storage {text}: cannot be used ({described(error)}); expected s3://BUCKET/FOLDER "
            "with credentials that may write there, or a folder that every node mounts"
        ) from error
