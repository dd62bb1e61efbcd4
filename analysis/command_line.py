"""The command line that the analyses share."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from datasets.addresses import shown
from datasets.errors import InputError, described
from datasets.terminal import replace_what_cannot_be_shown
from datasets.typed_paths import typed_address, typed_path
from record.definition import defined_in
from record.folder import StudyFolder
from record.reading import recorded_study
from record.recorded_study import RecordedStudy


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are told in one line."""

    def error(self, message: str) -> NoReturn:
        """Says it without the usage."""
        self.exit(2, f"error: {message} (see --help)\n")


def parser(description: str) -> Parser:
    """A command line that names a study and where its runs are."""
    made = Parser(description=description, allow_abbrev=False)
    made.add_argument("study", metavar="NAME", help="name of the study")
    add_runs_dir(made, ", and where the results go: PATH/NAME/report")
    add_study_file(made)
    return made


def add_study_file(line: argparse.ArgumentParser) -> None:
    """The option that says which file defines a study that is none of the project's own."""
    line.add_argument(
        "--study",
        dest="study_file",
        type=typed_path,
        metavar="FILE.py",
        help="the file that defines the study, where it is none of this project's, and not where "
        "it was when the study was run, or not as it was",
    )


def named_study(typed: argparse.Namespace, uri: str) -> RecordedStudy:
    """The study that was typed, without the trials whose runs were deleted in MLflow.

    Raises:
        InputError: If there is no such study.
    """
    return study_of(typed, typed.study, uri).in_mlflow()


def study_of(typed: argparse.Namespace, name: str, uri: str) -> RecordedStudy:
    """A study by its name; what was typed says where it is, and which file defines it.

    Raises:
        InputError: If there is no such study.
    """
    define = None if typed.study_file is None else partial(defined_in, typed.study_file)
    return recorded_study(StudyFolder(typed.runs_dir, name), uri, define)


def add_runs_dir(line: argparse.ArgumentParser, also: str = "") -> None:
    """The option that says where a study was recorded, and what else it says."""
    line.add_argument(
        "--runs-dir",
        type=typed_path,
        default=os.environ.get("ORRERY_RUNS_DIR") or "runs",
        metavar="PATH",
        help="where the study was recorded, unless MLFLOW_TRACKING_URI names a server"
        f"{also} (default: %(default)s)",
    )


def add_data_dir(line: argparse.ArgumentParser) -> None:
    """The option that says where data are prepared."""
    line.add_argument(
        "--data-dir",
        type=typed_path,
        default=os.environ.get("ORRERY_DATA_DIR") or "data",
        metavar="PATH",
        help="where prepared data are kept (default: %(default)s)",
    )


def add_data(line: argparse.ArgumentParser) -> None:
    """The option that says where a study's data are on this machine."""
    line.add_argument(
        "--data",
        type=typed_address,
        metavar="FILE",
        help="where the study's data are on this machine, if not where they were",
    )


def answer(
    line: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    analyse: Callable[[RecordedStudy, Path], str],
) -> int:
    """Reads a command line, analyses the study and prints what came of it.

    Args:
        line: The command line, made by `parser`.
        argv: The arguments; None: those of this process.
        analyse: Gets the study and the folder for the results.

    Returns:
        The exit code: 0, or 2 for bad input, a full disk or a storage that is away.
    """

    def analysed(typed: argparse.Namespace, uri: str) -> str:
        return analyse(named_study(typed, uri), folder_of(typed).report)

    return answered(line, argv, analysed)


def answered(
    line: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    act: Callable[[argparse.Namespace, str], str],
) -> int:
    """Reads a command line, acts and prints what came of it.

    Args:
        line: The command line, made by `parser`.
        argv: The arguments; None: those of this process.
        act: Gets what was typed and MLflow's tracking URI.

    Returns:
        The exit code: 0, or 2 for bad input, a full disk or a storage that is away.
    """
    replace_what_cannot_be_shown()
    typed = line.parse_args(argv)

    def show() -> int:
        print(act(typed, tracking_uri(typed.runs_dir)))
        return 0

    return exit_code(show)


def exit_code(act: Callable[[], int]) -> int:
    """What a command returns; 2 after one line of what is wrong with its input, or with a disk or
    a storage."""
    try:
        return act()
    except InputError as error:
        print(f"error: {shown(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {described(error)}", file=sys.stderr)
        return 2
    except (MlflowException, SQLAlchemyError) as error:
        print(
            f"error: the tracking store went away or refused: {described(error)}", file=sys.stderr
        )
        return 2


def tracking_uri(runs: Path) -> str:
    """Where MLflow records: ``MLFLOW_TRACKING_URI``, else a database in the runs folder."""
    local = f"sqlite:///{runs.resolve() / 'mlflow.db'}"
    return os.environ.get("MLFLOW_TRACKING_URI") or local


def folder_of(typed: argparse.Namespace) -> StudyFolder:
    """Where the study lies that was typed."""
    return StudyFolder(typed.runs_dir, typed.study)


def make_folder(folder: Path) -> None:
    """Makes the folder for results.

    Raises:
        InputError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write into {folder} ({error.strerror}): choose another --runs-dir"
        ) from error
