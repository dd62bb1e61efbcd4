"""The fake study, asked in a folder, and what stands in its log and in MLflow."""

from collections.abc import Callable
from pathlib import Path

import mlflow
from fake_study import FAKE
from mlflow.entities import Run

from record.log import FileLog
from record.state import StudyState, fold
from record.trial import Trial
from studies.agenda import Agenda
from studies.budgets import Stop
from studies.study import main

Ask = Callable[..., int]


def ask_in(folder: Path, *arguments: str) -> int:
    """Asks the fake study, under the name s, with everything in a folder."""
    where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]
    return main(FAKE, [*where, "--name", "s", *arguments])


def log_file(folder: Path) -> Path:
    """The study's log."""
    return folder / "runs" / "s" / "log.jsonl"


def state_in_log(folder: Path) -> StudyState:
    """What the study has come to."""
    return fold(FileLog(log_file(folder)).read())


def trials_in_log(folder: Path) -> tuple[Trial, ...]:
    """All trials, finals too, by number."""
    return state_in_log(folder).trials()


def searched_in_log(folder: Path) -> tuple[Trial, ...]:
    """The trials of the search, in the order of their proposal."""
    return state_in_log(folder).search()


def score_of(trial: Trial) -> float:
    """The objective of a trial that reported any."""
    value = trial.value("validation/score")
    assert value is not None
    return value


def runs_in_mlflow(folder: Path) -> dict[int, Run]:
    """Trial number -> run; the parent stands under -1."""
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return {int(run.data.tags.get("orrery.trial", -1)): run for run in runs}


def said_in_mlflow(folder: Path) -> str:
    """What the study's page opens on."""
    return runs_in_mlflow(folder)[-1].data.tags["mlflow.note.content"]


def epochs_in_mlflow(folder: Path, run: Run, metric: str) -> list[int]:
    """The epochs of a run, as often as they are there."""
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    return [point.step for point in client.get_metric_history(run.info.run_id, metric)]


def stopping_when(condition: Callable[[StudyState], bool]) -> Callable[[Agenda], bool]:
    """`Agenda.should_stop` of a session whose time is up at a certain moment."""

    def should_stop(agenda: Agenda) -> bool:
        if condition(agenda.state):
            agenda.halt(Stop("time", "planted: the time is up"))
        return agenda.stop is not None

    return should_stop


def has_epochs(number: int, epochs: int) -> Callable[[StudyState], bool]:
    """Whether a trial has done so many epochs, as a condition of `stopping_when`."""

    def condition(state: StudyState) -> bool:
        trial = state.known(number)
        return trial is not None and trial.epoch >= epochs

    return condition
