"""Exports a study to an Optuna storage, for optuna-dashboard.

Everything is read from the study's log, also while the study runs: trials, parameters and their
distributions, the objective after every epoch, states, failure reasons and times. The export is a
copy: changing it does not change the study.

Exit code: 0 when the file is written, 2 for bad input.
"""

import argparse
import shlex
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from analysis.command_line import answered
from datasets.errors import InputError
from datasets.files import write_new
from datasets.typed_paths import typed_path
from engine.optuna_export import export
from engine.recorded_command_line import parser
from record.folder import StudyFolder
from record.known_log import known_state

SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Target:
    """The file that an export writes.

    Attributes:
        file: Path of the file.
        is_database: Whether it is an SQLite database; otherwise it is an Optuna journal.
    """

    file: Path
    is_database: bool

    @property
    def address(self) -> str:
        """The storage address to pass to Optuna's tools: ``sqlite:///FILE``, or ``FILE``."""
        return f"{SQLITE if self.is_database else ''}{self.file}"

    def check_new(self) -> None:
        """Checks that the file does not exist yet.

        Raises:
            InputError: If it exists.
        """
        if self.file.exists():
            raise InputError(
                f"--optuna {self.file}: it is there already; name a new file, or move it away"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Exports a study from the command line; returns the exit code."""
    line = parser((__doc__ or "").split("\n\n")[0])
    line.add_argument(
        "--optuna",
        required=True,
        type=_typed,
        metavar="FILE",
        help="the file that is made: a journal of Optuna's, or by sqlite:///FILE a database",
    )

    def act(typed: Namespace, uri: str) -> str:
        del uri
        folder = StudyFolder(typed.runs_dir, typed.study, typed.storage)
        return exported(folder, typed.optuna)

    return answered(line, argv, act)


def exported(folder: StudyFolder, target: Target) -> str:
    """Writes a study's trials into a new Optuna storage; returns a message with the command that
    shows them.

    Raises:
        InputError: If the study does not exist, or the file exists already.
        OSError: If the log cannot be read, or the file cannot be written.
    """
    target.check_new()
    state = known_state(folder)
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "optuna"
        with _opened(Target(made, target.is_database)) as storage:
            export(state, folder.name, storage)
        _write(target, made.read_bytes())
    trials = len(state.trials())
    return f"{trials} trials; to see them: optuna-dashboard {shlex.quote(target.address)}"


def _write(target: Target, content: bytes) -> None:
    """Writes the file atomically.

    Raises:
        InputError: If another process created it in the meantime.
    """
    try:
        write_new(target.file, content)
    except FileExistsError:
        target.check_new()
        raise


def _typed(text: str) -> Target:
    is_database = text.startswith(SQLITE)
    if "://" in text and not is_database:
        raise argparse.ArgumentTypeError(f"{text}: expected FILE or {SQLITE}FILE")
    return Target(typed_path(text.removeprefix(SQLITE)), is_database)


@contextmanager
def _opened(target: Target) -> Iterator[BaseStorage]:
    if not target.is_database:
        yield JournalStorage(JournalFileBackend(str(target.file)))
        return
    storage = RDBStorage(target.address)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
