"""A tracking server that goes away: the study does not wait, and nothing is lost."""

import platform
import shutil
import threading
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from asked import (
    Ask,
    ask_in,
    epochs_in_mlflow,
    has_epochs,
    runs_in_mlflow,
    state_in_log,
    stopping_when,
)
from asked import trials_in_log as trials_of
from mlflow import MlflowClient
from mlflow.entities import Run

from engine import projection, run
from engine.agenda import Agenda
from engine.driver import Driver
from record import appender
from record.mlflow_tracker import MLflowTracker
from record.tracker import NotRecorded
from record.trial import Trial
from studies import doctor

COMMAND = ("--local", "--ending", "good", "--epochs", "3", "--trials", "4")


def away(*_: object) -> None:
    raise NotRecorded("Connection refused")


def shown(folder: Path) -> dict[int, list[int]]:
    """Trial that is shown as finished -> its epochs, as often as they are there."""
    return {
        number: epochs_in_mlflow(folder, run, "validation/score")
        for number, run in sorted(runs_in_mlflow(folder).items())
        if number >= 0 and run.info.status == "FINISHED"
    }


ALL = {number: [1, 2, 3] for number in range(4)}


def test_the_study_goes_on_while_the_server_is_away_and_it_is_told_afterwards(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(projection, "AGAIN", 0.01)
    calls = count()
    real = MLflowTracker.tell

    def away_at_first(self: MLflowTracker, trial: Trial) -> None:
        if next(calls) < 5:
            away()
        real(self, trial)

    monkeypatch.setattr(MLflowTracker, "tell", away_at_first)
    assert ask(*COMMAND) == 0
    said = capsys.readouterr().out
    assert said.count("MLflow cannot be told (Connection refused)") == 1
    assert said.count("MLflow can be told again") == 1
    assert shown(tmp_path) == ALL


def test_no_trial_waits_for_the_server(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials_are_over = threading.Event()
    tell, finish = MLflowTracker.tell, Driver.finish

    def waits(self: MLflowTracker, trial: Trial) -> None:
        assert trials_are_over.wait(60), "a trial waited for MLflow"
        tell(self, trial)

    def over(self: Driver) -> None:
        assert self.agenda.ended == 4
        trials_are_over.set()
        finish(self)

    monkeypatch.setattr(MLflowTracker, "tell", waits)
    monkeypatch.setattr(Driver, "finish", over)
    assert ask(*COMMAND) == 0
    assert shown(tmp_path) == ALL


@pytest.mark.parametrize("again", ["doctor", "same command"])
def test_what_was_not_delivered_is_named_with_the_command_that_delivers_it(
    ask: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    again: str,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run, "PATIENCE", 0.0)
        patch.setattr(MLflowTracker, "tell", away)
        assert ask(*COMMAND) == 1
    said = capsys.readouterr()
    assert "best of 4 trials" in said.out
    runs = str(tmp_path / "runs")
    command = f"python studies/doctor.py s --repair --runs-dir {runs}"
    assert said.err.startswith("error: MLflow cannot be told; nothing is lost; ")
    assert f"trials 0, 1, 2, 3 are not delivered: {command} does it" in said.err
    assert [each.status for each in trials_of(tmp_path)] == ["finished"] * 4
    assert shown(tmp_path) == {}
    if again == "doctor":
        assert doctor.main(["s", "--repair", "--runs-dir", runs]) == 0
    else:
        assert ask(*COMMAND) == 0
    assert shown(tmp_path) == ALL


def test_a_mistake_in_this_program_is_not_taken_for_an_absent_server(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> None:
        raise KeyError("planted")

    monkeypatch.setattr(MLflowTracker, "tell", mistaken)
    with pytest.raises(KeyError, match="planted"):
        ask(*COMMAND)


def test_of_what_waits_only_numbers_are_kept(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its epochs are in the state, once, whoever has to hear of them."""
    kept: list[Any] = []
    finish = projection.Projection.finish

    def look(self: projection.Projection, patience: float) -> list[int]:
        kept.extend(self.waiting)
        assert all(isinstance(due, float) for due in self.waiting.values())
        return finish(self, patience)

    monkeypatch.setattr(run, "PATIENCE", 0.0)
    monkeypatch.setattr(MLflowTracker, "tell", away)
    monkeypatch.setattr(projection.Projection, "finish", look)
    assert ask(*COMMAND) == 1
    assert kept == [0, 1, 2, 3]


def test_where_a_trial_was_is_not_forgotten_while_the_server_is_away(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moves between two sessions, and MLflow hears of neither place until the end."""
    tell = MLflowTracker.tell

    def away_at_first(self: MLflowTracker, trial: Trial) -> None:
        if trial.number == 0 and trial.is_open:
            away()
        tell(self, trial)

    monkeypatch.setattr(run, "PATIENCE", 0.0)
    monkeypatch.setattr(MLflowTracker, "tell", away_at_first)
    monkeypatch.setattr("engine.opening.catch_up", lambda *_: None)
    monkeypatch.setattr(platform, "node", lambda: "one")
    with monkeypatch.context() as patch:
        patch.setattr(Agenda, "should_stop", stopping_when(has_epochs(0, 1)))
        ask(*COMMAND)
    monkeypatch.setattr(platform, "node", lambda: "two")
    assert ask(*COMMAND) == 0
    assert [each.node for each in state_in_log(tmp_path).trial(0).placements] == ["one", "two"]
    assert runs_in_mlflow(tmp_path)[0].data.tags["orrery.node"] == "one, two"
    assert shown(tmp_path) == ALL


def test_a_database_that_was_lost_is_told_everything_again(ask: Ask, tmp_path: Path) -> None:
    finals = ("--finalists", "1", "--seeds", "2")
    assert ask(*COMMAND, *finals) == 0
    again = tmp_path / "again"
    shutil.copytree(tmp_path / "runs" / "s", again / "runs" / "s")
    assert ask_in(again, *COMMAND, *finals) == 0
    before, after = (runs_in_mlflow(folder) for folder in (tmp_path, again))
    assert len(before) == 1 + 4 + 4
    assert {n: told(run) for n, run in after.items()} == {n: told(r) for n, r in before.items()}
    assert doctor.main(["s", "--runs-dir", str(again / "runs")]) == 0


def told(run: Run) -> dict[str, Any]:
    """What a run says, but for ids, and for the command."""
    known = run.data.tags.items()
    tags = {key: text for key, text in known if key.startswith("orrery.") and key != COMMAND_TAG}
    return {"status": run.info.status, "params": run.data.params, "tags": tags, **run.data.metrics}


COMMAND_TAG = "orrery.command"


def test_runs_that_were_deleted_by_hand_stay_deleted(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of an ended trial between two sessions, one of a trial while it runs."""
    slow = ("--local", "--ending", "good", "--epochs", "4", "--seconds", "0.1")
    tell = MLflowTracker.tell
    assert ask(*slow, "--trials", "2") == 0
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    client.delete_run(runs_in_mlflow(tmp_path)[1].info.run_id)

    monkeypatch.setattr(projection, "PATIENCE", 0.0)
    monkeypatch.setattr(appender, "PATIENCE", 0.0)
    deleted: list[int] = []

    def tell_and_delete(self: MLflowTracker, trial: Trial) -> None:
        tell(self, trial)
        if trial.number == 2 and 2 in self.runs and not deleted:
            assert trial.is_open
            deleted.append(trial.number)
            self.client.delete_run(self.runs[2].run_id)

    with monkeypatch.context() as patch:
        patch.setattr(MLflowTracker, "tell", tell_and_delete)
        assert ask(*slow, "--trials", "4") == 0
    assert deleted == [2]
    for trials in (4, 5):
        assert ask(*slow, "--trials", str(trials)) == 0
        assert runs_in_mlflow(tmp_path).keys() == {-1, *range(trials)} - {1, 2}
        assert state_in_log(tmp_path).discarded == {1, 2}
        assert doctor.main(["s", "--runs-dir", str(tmp_path / "runs")]) == 0
