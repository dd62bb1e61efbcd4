"""The storage that the nodes of a cluster share: found fit before any trial starts."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upath import UPath

from datasets.addresses import shown
from datasets.errors import InputError, described
from datasets.files import away_is_an_oserror, write_new
from datasets.machine import file_system, is_shared
from engine import nodes
from engine.checkpoints import opened
from trainables.versions import versions


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
        root = opened(text)
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


def check_nodes(storage: UPath | None) -> None:
    """Checks that every node can do what the driver asks of it.

    Args:
        storage: The shared one; None: none was named.

    Raises:
        InputError: If a node does not see the storage, or runs other versions than the driver; or
            if no storage is named, or one of this node only, and there are more nodes.
    """
    alone = len(nodes.alive()) == 1 and not nodes.to_come()
    if storage is None:
        if alone:
            return
        raise InputError(
            "--storage is missing: the nodes of a cluster share checkpoints and data in it; "
            "expected s3://BUCKET/FOLDER, or a folder that every node mounts"
        )
    if isinstance(storage, Path) and not alone and len(nodes.alive()) == 1:
        _check_mounted(storage)
    here = versions()
    with probe(storage) as file:
        for node, (sees, there) in nodes.on_each(_look, str(file)):
            if not sees:
                raise InputError(
                    f"--storage {storage}: the node {node.name} does not see what this one writes "
                    "there; expected s3://BUCKET/FOLDER, or a folder that every node mounts"
                )
            different = [f"{n} {there[n]} and not {here[n]}" for n in here if there[n] != here[n]]
            if different:
                raise InputError(
                    f"the node {node.name} runs {', '.join(different)}, as the driver does: set "
                    "the nodes up anew (`ray up cluster.yaml`), or start the study on the head"
                )


def _look(file: str) -> tuple[bool, dict[str, str]]:
    """Whether this node sees a file, and what it runs with."""
    try:
        with away_is_an_oserror(UPath(file)):
            return UPath(file).is_file(), versions()
    except OSError:
        return False, versions()


def _check_mounted(folder: Path) -> None:
    """Where no other node is there to ask: whether a folder can be another node's as well."""
    kind = file_system(folder)
    if not is_shared(kind):
        raise InputError(
            f"--storage {folder}: lies on a disk of this node ({kind or 'unknown'}), which the "
            "nodes to come would not see; expected s3://BUCKET/FOLDER, or a folder that every "
            "node mounts"
        )
