"""The command line that the analyses share: options, errors and exit codes."""

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
from datasets.leaving import leave_quickly
from datasets.terminal import replace_what_cannot_be_shown
from datasets.typed_paths import typed_address, typed_path
from record.definition import defined_in
from record.folder import StudyFolder
from record.reading import recorded_study
from record.recorded_study import RecordedStudy
from record.tracking_uri import tracking_uri


class Parser(argparse.ArgumentParser):
    """An argument parser that reports errors in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Prints one line of error and exits with code 2."""
        self.exit(2, f"error: {message} (see --help)\n")


def parser(description: str) -> Parser:
    """Returns a command line with the study's name, --runs-dir and --study."""
    made = Parser(description=description, allow_abbrev=False)
    made.add_argument("study", metavar="NAME", help="name of the study")
    add_runs_dir(made, ", and where the results go: PATH/NAME/report")
    add_study_file(made)
    return made


def add_study_file(line: argparse.ArgumentParser) -> None:
    """Adds --study, the file that defines a study which is not one of the project's own."""
    line.add_argument(
        "--study",
        dest="study_file",
        type=typed_path,
        metavar="FILE.py",
        help="the file that defines the study, where it is none of this project's, and not where "
        "it was when the study was run, or not as it was",
    )


def named_study(typed: argparse.Namespace, uri: str) -> RecordedStudy:
    """Reads the study named on the command line, without trials whose runs were deleted in MLflow.

    Raises:
        InputError: If there is no such study.
    """
    return study_of(typed, typed.study, uri).in_mlflow()


def study_of(typed: argparse.Namespace, name: str, uri: str) -> RecordedStudy:
    """Reads a recorded study.

    Args:
        typed: The parsed command line, with ``runs_dir`` and ``study_file``.
        name: Name of the study.
        uri: MLflow's tracking URI.

    Raises:
        InputError: If there is no such study.
    """
    define = None if typed.study_file is None else partial(defined_in, typed.study_file)
    return recorded_study(StudyFolder(typed.runs_dir, name), uri, define)


def add_runs_dir(line: argparse.ArgumentParser, also: str = "") -> None:
    """Adds --runs-dir, the folder in which a study was recorded.

    Args:
        line: The command line.
        also: What else the option decides, appended to its help text.
    """
    line.add_argument(
        "--runs-dir",
        type=typed_path,
        default=os.environ.get("ORRERY_RUNS_DIR") or "runs",
        metavar="PATH",
        help="where the study was recorded, unless MLFLOW_TRACKING_URI names a server"
        f"{also} (default: %(default)s)",
    )


def add_data_dir(line: argparse.ArgumentParser) -> None:
    """Adds --data-dir, the folder of prepared data."""
    line.add_argument(
        "--data-dir",
        type=typed_path,
        default=os.environ.get("ORRERY_DATA_DIR") or "data",
        metavar="PATH",
        help="where prepared data are kept (default: %(default)s)",
    )


def add_data(line: argparse.ArgumentParser) -> None:
    """Adds --data, the path of the study's data file on this machine."""
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
    """Parses a command line, analyses the study and prints the result.

    Args:
        line: The command line, made by `parser`.
        argv: The arguments; None for those of this process.
        analyse: Takes the study and the folder for the results; returns the text to print.

    Returns:
        The exit code: 0, or 2 for bad input, a full disk or an unreachable storage.
    """

    def analysed(typed: argparse.Namespace, uri: str) -> str:
        return analyse(named_study(typed, uri), folder_of(typed).report)

    return answered(line, argv, analysed)


def answered(
    line: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    act: Callable[[argparse.Namespace, str], str],
) -> int:
    """Parses a command line, runs an action and prints its result.

    Args:
        line: The command line, made by `parser`.
        argv: The arguments; None for those of this process.
        act: Takes the parsed arguments and MLflow's tracking URI; returns the text to print.

    Returns:
        The exit code: 0, or 2 for bad input, a full disk or an unreachable storage.
    """
    replace_what_cannot_be_shown()
    leave_quickly()
    typed = line.parse_args(argv)

    def show() -> int:
        print(act(typed, tracking_uri(typed.runs_dir)))
        return 0

    return exit_code(show)


def exit_code(act: Callable[[], int]) -> int:
    """Runs a command and returns its exit code; an InputError, or an error of a disk or of the
    tracking store, is printed in one line and gives 2."""
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


def folder_of(typed: argparse.Namespace) -> StudyFolder:
    """Returns the folder of the study named on the command line."""
    return StudyFolder(typed.runs_dir, typed.study)


def make_folder(folder: Path) -> None:
    """Creates the folder for results, with its parents, unless it exists.

    Raises:
        InputError: If it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write into {folder} ({error.strerror}): choose another --runs-dir"
        ) from error
