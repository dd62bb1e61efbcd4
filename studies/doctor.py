"""Checks that MLflow agrees with a study's log and that the retained checkpoints exist.

The log is the source of truth of a study and MLflow a copy of it: every trial, every epoch and
every number is compared. Nothing is changed without --repair, which writes to MLflow again what
the log says and removes surplus checkpoints; runs that were deleted by hand stay deleted.

Exit code: 0 if they agree, 1 if they do not, 2 for bad input.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import filelock
from rich.console import Console
from rich.table import Table

from analysis.command_line import answered
from datasets.addresses import shown
from datasets.errors import InputError
from datasets.machine import file_system, is_shared
from engine.agreement import Agreement, at_rest, compare, repair
from engine.checkpoints import Checkpoints, as_upath
from engine.lease import check_free, lease
from engine.recorded_command_line import parser
from record import names
from record.folder import StudyFolder
from record.known_log import check_there, known_state
from record.mlflow_tracker import MLflowTracker, not_recorded
from record.state import StudyState
from record.tracker import NotRecorded
from record.tracking import check_answers, connect, experiment_named
from record.tracking_uri import local_database
from studies.retention_check import check, trim

Opener = Callable[[], MLflowTracker]


def main(argv: Sequence[str] | None = None) -> int:
    """Checks a study from the command line; returns the exit code."""
    line = parser((__doc__ or "").split("\n\n")[0])
    line.add_argument(
        "--repair",
        action="store_true",
        help="tell MLflow what the log says, and remove checkpoints that are too much",
    )
    agreed = False

    def look(typed: Namespace, uri: str) -> str:
        nonlocal agreed
        folder = StudyFolder(typed.runs_dir, typed.study, typed.storage)
        console = Console(soft_wrap=True, emoji=False)
        agreed = examined(folder, uri, typed.repair, console)
        return ""

    code = answered(line, argv, look)
    return code or (0 if agreed else 1)


def examined(folder: StudyFolder, uri: str, is_repaired: bool, console: Console) -> bool:
    """Compares the log of a study with MLflow, optionally repairs MLflow, and prints the findings.

    Args:
        folder: The study's folder; if it has no shared storage, the one recorded in MLflow is
            used.
        uri: MLflow's tracking URI.
        is_repaired: Whether to repair what can be repaired.
        console: Where the table and the findings are printed.

    Returns:
        Whether everything agrees at the end.

    Raises:
        InputError: If the study does not exist or is running, or MLflow does not answer.
        OSError: If the log, or a checkpoint, cannot be read.
    """
    try:
        open_tracker = _opener(uri, folder)
        folder = _with_storage(folder, open_tracker())
        check_there(folder)
        _warn(folder, console)
        with _at_rest(folder, is_repaired, console):
            state = at_rest(known_state(folder))
            return _examined(folder, state, open_tracker, is_repaired, console)
    except NotRecorded as error:
        raise InputError(f"the tracking store {shown(uri)} does not answer ({error})") from error


def _examined(
    folder: StudyFolder,
    state: StudyState,
    open_tracker: Opener,
    is_repaired: bool,
    console: Console,
) -> bool:
    tracker = open_tracker()
    if tracker.parent and tracker.identity != state.session.identity:
        raise InputError(
            f"{shown(tracker.client.tracking_uri)} and {folder.store or folder.path} do not know "
            f"the same study {folder.name}: one of them is another one's"
        )
    found = _compared(folder, tracker, state)
    _show(found, console)
    repairable = sum(each.is_repairable for each in found.findings)
    if repairable and not is_repaired:
        console.print("\n--repair does it")
    elif repairable:
        repair(tracker, state, found.findings)
        trim(state, Checkpoints(as_upath(str(folder.sessions))), found.findings)
        # A new tracker reads MLflow again, so that the result of the repair is verified.
        found = _compared(folder, open_tracker(), state)
        console.print(f"\n{repairable} repaired; read again:\n")
        _show(found, console)
    return not found.findings


def _compared(folder: StudyFolder, tracker: MLflowTracker, state: StudyState) -> Agreement:
    """Compares the log with MLflow and with the checkpoints."""
    found = compare(tracker, state)
    of_checkpoints = check(state, Checkpoints(as_upath(str(folder.sessions))))
    return replace(found, findings=(*found.findings, *of_checkpoints))


def _opener(uri: str, folder: StudyFolder) -> Opener:
    """Returns a function that opens the study's MLflow runs; each call reads them again.

    Raises:
        InputError: If the tracking store does not answer, or has no experiment of the study.
    """
    database = local_database(uri)
    if database is not None and not database.is_file():
        check_there(folder)
        raise InputError(_not_shown(folder, uri))
    check_answers(uri)
    client = connect(uri)
    with not_recorded():
        experiment = experiment_named(client, folder.name)
    if experiment is None:
        check_there(folder)
        raise InputError(_not_shown(folder, uri))
    return lambda: MLflowTracker(client, experiment.experiment_id, folder.name)


def _not_shown(folder: StudyFolder, uri: str) -> str:
    return (
        f"{shown(uri)} shows nothing of the study {folder.name}: its own command records it anew"
    )


def _with_storage(folder: StudyFolder, tracker: MLflowTracker) -> StudyFolder:
    """Returns the folder with the shared storage recorded in MLflow, unless it has one already."""
    tags = tracker.parent_run.data.tags if tracker.parent_run else {}
    sessions = tags.get(names.STORAGE)
    if folder.storage is not None or not sessions:
        return folder
    return StudyFolder(folder.runs_dir, folder.name, as_upath(sessions).parents[2])


@contextmanager
def _at_rest(folder: StudyFolder, is_repaired: bool, console: Console) -> Iterator[None]:
    """Holds the study's lock, so that no other process runs the study in the meantime.

    Raises:
        InputError: If the study is running.
    """
    notify = partial(console.print, markup=False)
    try:
        with filelock.FileLock(folder.lock, timeout=0):
            if folder.store is not None and is_repaired:
                with lease(folder, notify):
                    yield
            else:
                if folder.store is not None:
                    check_free(folder, notify)
                yield
    except filelock.Timeout:
        raise InputError(
            f"the study {folder.name} is running: MLflow agrees with its log when it has ended"
        ) from None


def _warn(folder: StudyFolder, console: Console) -> None:
    if is_shared(kind := file_system(folder.path)):
        console.print(
            f"{folder.path} lies on {kind}, which several machines may mount: locks and MLflow's "
            "database are safe on a local disk only\n",
            markup=False,
        )


def _show(found: Agreement, console: Console) -> None:
    """Prints the number of trials by status, in the log and in MLflow, and the findings."""
    table = Table("trials", "log", "MLflow", box=None, padding=(0, 2), pad_edge=False)
    for status in dict.fromkeys((*found.log, *found.mlflow)):
        counts = (found.log.get(status, 0), found.mlflow.get(status, 0))
        table.add_row(status, *map(str, counts))
    table.add_row("all", str(sum(found.log.values())), str(sum(found.mlflow.values())))
    console.print(table)
    console.print("" if found.findings else "\nMLflow shows what the log says")
    for finding in found.findings:
        console.print(str(finding), markup=False)


if __name__ == "__main__":
    sys.exit(main())
