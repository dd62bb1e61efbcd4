"""The log of a study that was recorded before, found by the study's name."""

import json
import os
from pathlib import Path
from typing import Any

from analysis.command_line import Parser, add_runs_dir
from datasets.errors import InputError
from engine.checkpoints import opened
from record.folder import StudyFolder
from record.log import FileLog
from record.state import IllegalEvent, StudyState, fold
from record.store_log import StoreLog

OLD_JOURNAL = "optuna.log"
"""File of a study that was recorded before there were logs."""


def parser(description: str) -> Parser:
    """A command line that names a recorded study and where its log is."""
    made = Parser(description=description, allow_abbrev=False)
    made.add_argument("study", metavar="NAME", help="name of the study")
    add_runs_dir(made)
    made.add_argument(
        "--storage",
        type=opened,
        default=os.environ.get("ORRERY_STORAGE") or None,
        metavar="ADDRESS",
        help="the shared storage that the study ran with, such as s3://BUCKET/FOLDER, if any",
    )
    return made


def check_there(folder: StudyFolder) -> None:
    """Checks that a study has a log, where that can be told without reading it.

    Raises:
        InputError: If it has none; the message says what there is.
    """
    if folder.store_log is None and not folder.log.is_file():
        raise InputError(_missing(folder))


def check_not_old(folder: StudyFolder) -> None:
    """Checks that a study was not begun before there were logs.

    Raises:
        InputError: If it was; the message names the version.
    """
    if not folder.log.is_file() and (folder.path / OLD_JOURNAL).is_file():
        raise InputError(_missing(folder))


def known_state(folder: StudyFolder) -> StudyState:
    """What a study has come to, by its log: the one in its shared storage, where it has one, else
    the one on this disk.

    Raises:
        InputError: If it has no log, or a damaged one, or one of another version.
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


def _missing(folder: StudyFolder) -> str:
    """Why a study has no log."""
    old = folder.path / OLD_JOURNAL
    if old.is_file():
        return (
            f"the study {folder.name} was recorded by version {_version(old)}, which kept no log: "
            f"look at it and go on with it by that version, or give a new study another --name"
        )
    if folder.store_log is not None:
        return f"no study {folder.name} in {folder.storage}: expected the --storage it ran with"
    return (
        f"no study {folder.name} in {folder.runs_dir}: there is no {folder.log}; expected the "
        "--runs-dir that it ran with, and --storage if it ran with one"
    )


def _version(journal: Path) -> str:
    """The version that began a study, by its journal."""
    with journal.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry: dict[str, Any] = json.loads(line)
                return str(entry["user_attr"]["spec"]["version"])
            except (ValueError, KeyError, TypeError):
                continue
    return "0.2.0 or older"
