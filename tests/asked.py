"""The fake study, asked in a folder, and what stands in Optuna and MLflow of it."""

from collections.abc import Callable
from pathlib import Path

import mlflow
import optuna
from fake_study import FAKE
from mlflow.entities import Run
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from studies.budgets import Stop
from studies.ledger import Ledger
from studies.search import OF
from studies.study import main

Ask = Callable[..., int]


def ask_in(folder: Path, *arguments: str) -> int:
    """Asks the fake study, under the name s, with everything in a folder."""
    where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]
    return main(FAKE, [*where, "--name", "s", *arguments])


def trials_in_optuna(folder: Path) -> list[FrozenTrial]:
    journal = JournalStorage(JournalFileBackend(str(folder / "runs" / "s" / "optuna.log")))
    return optuna.load_study(study_name="s", storage=journal).get_trials()


def searched_in_optuna(folder: Path) -> list[FrozenTrial]:
    """Without the finals."""
    return [trial for trial in trials_in_optuna(folder) if OF not in trial.user_attrs]


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
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    return [point.step for point in client.get_metric_history(run.info.run_id, metric)]


def stopping_when(condition: Callable[[Ledger], bool]) -> Callable[[Ledger], bool]:
    """`Ledger.should_stop` of a session whose time is up at a certain moment."""

    def should_stop(session: Ledger) -> bool:
        if condition(session):
            session.halt(Stop("time", "planted: the time is up"))
        return session.stop is not None

    return should_stop
