"""Runs the fake study in a folder and reads the results from its log and from MLflow."""

from collections.abc import Callable
from pathlib import Path

import mlflow
from fake_study import FAKE
from mlflow.entities import Run

from engine.agenda import Agenda
from engine.budgets import Stop
from engine.main import main
from record.log import FileLog
from record.state import StudyState, fold
from record.trial import Trial

Ask = Callable[..., int]


def ask_in(folder: Path, *arguments: str) -> int:
    """Runs the fake study under the name ``s``, with runs and data in a folder.

    Args:
        folder: Folder for runs and data.
        arguments: Further command-line arguments.

    Returns:
        The exit code.
    """
    where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]
    return main(FAKE, [*where, "--name", "s", *arguments])


def log_file(folder: Path) -> Path:
    """Returns the path of the study's log."""
    return folder / "runs" / "s" / "log.jsonl"


def state_in_log(folder: Path) -> StudyState:
    """Reads the study's log and returns the state of the study."""
    return fold(FileLog(log_file(folder)).read())


def trials_in_log(folder: Path) -> tuple[Trial, ...]:
    """Returns all trials in the log, finals included, sorted by number."""
    return state_in_log(folder).trials()


def searched_in_log(folder: Path) -> tuple[Trial, ...]:
    """Returns the trials of the search in the log, in the order in which they were proposed."""
    return state_in_log(folder).search()


def score_of(trial: Trial) -> float:
    """Returns the objective of a trial that has reported it."""
    value = trial.value("validation/score")
    assert value is not None
    return value


def runs_in_mlflow(folder: Path) -> dict[int, Run]:
    """Returns the study's MLflow runs by trial number; the parent run has the key -1."""
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return {int(run.data.tags.get("orrery.trial", -1)): run for run in runs}


def said_in_mlflow(folder: Path) -> str:
    """Returns the description of the study's parent run in MLflow."""
    return runs_in_mlflow(folder)[-1].data.tags["mlflow.note.content"]


def epochs_in_mlflow(folder: Path, run: Run, metric: str) -> list[int]:
    """Returns the epochs at which MLflow has a metric of a run, duplicates included."""
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    return [point.step for point in client.get_metric_history(run.info.run_id, metric)]


def stopping_when(condition: Callable[[StudyState], bool]) -> Callable[[Agenda], bool]:
    """Makes an `Agenda.should_stop` that ends the session as soon as the state meets a condition,
    as if its time budget were used up."""

    def should_stop(agenda: Agenda) -> bool:
        if condition(agenda.state):
            agenda.halt(Stop("time", "planted: the time is up"))
        return agenda.stop is not None

    return should_stop


def has_epochs(number: int, epochs: int) -> Callable[[StudyState], bool]:
    """Makes a condition for `stopping_when`: a trial has at least the given number of epochs."""

    def condition(state: StudyState) -> bool:
        trial = state.known(number)
        return trial is not None and trial.epoch >= epochs

    return condition
