"""Opens the shared storage of a cluster and tests it before any trial starts."""

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
    """Opens the folder given by ``--storage``, and tests it by writing and reading a file.

    Args:
        text: A folder or an address such as ``s3://BUCKET/FOLDER``, without credentials.

    Raises:
        InputError: If the address has credentials, or the storage cannot be used.
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
    """Writes a probe file to the storage, for other nodes to read, and removes it afterwards.

    Raises:
        OSError: If the file cannot be written, read back, or protected against overwriting.
    """
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
    """Returns True if an existing file is not overwritten by an exclusive write."""
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
