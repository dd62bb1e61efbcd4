"""A driver killed at any moment: the same command makes the study that would have been."""

from pathlib import Path
from typing import Any

import mlflow
import pytest
from asked import runs_in_mlflow, trials_in_log
from crashing import AT_EACH_CHANGE, MOMENTS, killed
from fake_study import FAKE

from engine.main import main
from record.mlflow_store import make_database
from studies import doctor

COMMAND = [
    *("--local", "--trials", "11", "--epochs", "3", "--name", "s"),
    *("--ending", "good", "bad", "non_finite"),
]
"""Past the trials that are drawn at random: what TPE proposes must be the same, too."""


def where(folder: Path) -> list[str]:
    return ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]


def outcome(folder: Path) -> dict[int, Any]:
    """What each trial came to: in the log, and in MLflow its params, state and epochs."""
    known = {trial.number: trial for trial in trials_in_log(folder)}
    runs = runs_in_mlflow(folder)
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    found = {}
    for number, trial in known.items():
        run = runs[number]
        assert run.info.status == ("FINISHED" if trial.status == "finished" else "FAILED")
        points = client.get_metric_history(run.info.run_id, "validation/score")
        found[number] = (
            (trial.config, trial.drawn, trial.role, trial.title, trial.reason),
            [(report.epoch, report.metrics["validation/score"]) for report in trial.reports],
            run.data.params,
            (run.data.tags["orrery.state"], trial.status),
            [(point.step, point.value) for point in points],
        )
    assert sorted(runs) == [-1, *sorted(found)]
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == len(runs), "a run is there twice"
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a study goes; with a database, which takes the driver seconds to make."""
    make_database(tmp_path / "runs" / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert main(FAKE, [*COMMAND, *where(folder)]) == 0
    return outcome(folder)


MARKED = [
    pytest.param(moment, marks=() if moment in AT_EACH_CHANGE else pytest.mark.acceptance)
    for moment in MOMENTS
]


@pytest.mark.parametrize("moment", MARKED)
def test_the_same_command_makes_the_study_that_would_have_been(
    moment: str, undisturbed: dict[int, Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if moment == "while MLflow's database is made":
        (folder / "runs" / "mlflow.db").unlink()
    assert killed(moment, [*COMMAND, *where(folder)]), "it never came to this moment"
    assert main(FAKE, [*COMMAND, *where(folder)]) == 0
    assert "best of 11 trials" in capsys.readouterr().out
    assert outcome(folder) == undisturbed
    assert doctor.main(["s", "--runs-dir", str(folder / "runs")]) == 0


@pytest.mark.acceptance
def test_a_study_that_is_killed_again_and_again_ends_the_same(
    undisturbed: dict[int, Any], folder: Path
) -> None:
    for moment in MOMENTS:
        killed(moment, [*COMMAND, *where(folder)])
    assert main(FAKE, [*COMMAND, *where(folder)]) == 0
    assert outcome(folder) == undisturbed
