"""Checks that all nodes of a cluster see the shared storage and run the driver's versions."""

from pathlib import Path

from upath import UPath

from datasets.errors import InputError
from datasets.files import away_is_an_oserror
from datasets.machine import file_system, is_shared
from engine.on_ray import nodes
from engine.storage import probe
from trainables.versions import versions


def check_nodes(storage: UPath | None) -> None:
    """Checks that every node sees the shared storage and runs the driver's package versions.

    Args:
        storage: The shared storage; None if ``--storage`` was not given.

    Raises:
        InputError: If a node does not see the storage or runs other versions; or if the cluster
            has, or can have, several nodes and the storage is missing or a local disk.
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
    """Returns whether this node sees a file, and the package versions that it runs."""
    try:
        with away_is_an_oserror(UPath(file)):
            return UPath(file).is_file(), versions()
    except OSError:
        return False, versions()


def _check_mounted(folder: Path) -> None:
    """Checks by its file system that a folder can be mounted by nodes that are yet to come.

    Raises:
        InputError: If it lies on a local disk.
    """
    kind = file_system(folder)
    if not is_shared(kind):
        raise InputError(
            f"--storage {folder}: lies on a disk of this node ({kind or 'unknown'}), which the "
            "nodes to come would not see; expected s3://BUCKET/FOLDER, or a folder that every "
            "node mounts"
        )
