"""Finds a study's log, and checks that the study is continued where it was begun."""

from upath import UPath

from datasets.errors import InputError
from datasets.files import away_is_an_oserror
from engine.command import Command
from engine.lease import check_free
from record.folder import StudyFolder
from record.known_log import OLDEST, check_not_old
from record.log import FileLog
from record.store_log import StoreLog

OLD_PIECES = "optuna"
"""Folder in shared storage of a study recorded by an old version, which kept no log."""


def check_ready(command: Command) -> None:
    """Checks a study's place and, in shared storage, its lease, before what takes minutes.

    Raises:
        InputError: If the study was begun elsewhere, or another machine is running it.
        OSError: If the storage cannot be read.
    """
    if command.options.dry_run:
        return
    check_place(command.folder)
    if command.folder.store is not None:
        check_free(command.folder, command.notify)


def is_new(command: Command) -> bool:
    """Returns True if a command begins a study; ``--dry-run`` acts as if it did."""
    return command.options.dry_run or not log_of(command.folder).is_there()


def log_of(folder: StudyFolder) -> FileLog | StoreLog:
    """Returns a study's log, which lies in its shared storage if it has one.

    The log need not exist yet.
    """
    return FileLog(folder.log) if folder.store_log is None else StoreLog(folder.store_log)


def check_place(folder: StudyFolder) -> None:
    """Checks that a study is continued in the place where it was begun.

    Raises:
        InputError: If the study was recorded by an old version without a log, or was begun without
            the shared storage.
        OSError: If the storage cannot be read.
    """
    check_not_old(folder)
    if folder.store is None or log_of(folder).is_there():
        return
    if folder.log.is_file():
        raise InputError(
            f"the study {folder.name} was begun without --storage, and its log is {folder.log}: "
            "leave --storage out, or give a study with one another --name"
        )
    if _has_files(UPath(folder.store / OLD_PIECES)):
        raise InputError(
            f"the study {folder.name} in {folder.storage} was recorded by version {OLDEST}, which "
            "kept no log: look at it and go on with it by that version, or give a new study "
            "another --name"
        )


def _has_files(folder: UPath) -> bool:
    with away_is_an_oserror(folder):
        return bool(folder.fs.find(folder.path))
