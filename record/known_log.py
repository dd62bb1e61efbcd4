"""Finds and reads the log of a recorded study by the study's name."""

import json
from pathlib import Path
from typing import Any

from datasets.errors import InputError
from record.folder import StudyFolder
from record.log import FileLog
from record.state import IllegalEvent, StudyState, fold
from record.store_log import StoreLog

OLD_JOURNAL = "optuna.log"
"""File of a study recorded by an old version, which kept no log."""

OLDEST = "0.2.0 or older"
"""Text for the versions that did not record their version."""


def has_log(folder: StudyFolder) -> bool:
    """Returns False if a study certainly has no log; the shared storage is not accessed."""
    return folder.store_log is not None or folder.log.is_file()


def check_there(folder: StudyFolder) -> None:
    """Checks that a study has a log, as far as possible without accessing shared storage.

    Raises:
        InputError: If it has none; the message says what was found instead.
    """
    if not has_log(folder):
        raise InputError(_missing(folder))


def check_not_old(folder: StudyFolder) -> None:
    """Checks that a study was not recorded by an old version that kept no log.

    Raises:
        InputError: If it was; the message names the version.
    """
    if not folder.log.is_file() and (folder.path / OLD_JOURNAL).is_file():
        raise InputError(_missing(folder))


def known_state(folder: StudyFolder) -> StudyState:
    """Reads a study's state from its log, in its shared storage if it has one, else on this disk.

    Raises:
        InputError: If the study has no log, or the log is damaged or of another version.
        OSError: If the log cannot be read.
    """
    check_there(folder)
    log = FileLog(folder.log) if folder.store_log is None else StoreLog(folder.store_log)
    try:
        state = fold(log.read())
    except IllegalEvent as error:
        where = folder.store_log or folder.log
        raise InputError(f"{where} tells what cannot have happened: {error}") from error
    if not state.sessions:
        raise InputError(_missing(folder))
    return state


def without_log(study: str, version: str) -> str:
    """Returns the error message for a study recorded by an old version that kept no log."""
    return (
        f"the study {study} was recorded by version {version}, which kept no log: look at it and "
        "go on with it by that version, or give a new study another --name"
    )


def _missing(folder: StudyFolder) -> str:
    """Returns the error message that says why a study has no log."""
    old = folder.path / OLD_JOURNAL
    if old.is_file():
        return without_log(folder.name, _version(old))
    if folder.store_log is not None:
        return f"no study {folder.name} in {folder.storage}: expected the --storage it ran with"
    return (
        f"no study {folder.name} in {folder.runs_dir}: there is no {folder.log}; expected the "
        "--runs-dir that it ran with, and --storage if it ran with one"
    )


def _version(journal: Path) -> str:
    """Reads from a study's old journal which version began the study."""
    with journal.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry: dict[str, Any] = json.loads(line)
                return str(entry["user_attr"]["spec"]["version"])
            except (ValueError, KeyError, TypeError):
                continue
    return OLDEST
