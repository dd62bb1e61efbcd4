"""A tracking server that goes away: the study does not wait, and nothing is lost."""

import platform
import threading
from itertools import count
from pathlib import Path

import mlflow
import pytest
from fake_study import FAKE
from studies.ledger import Ledger
from studies.recording import NotRecorded, Recorder
from studies.records import Records, Trial
from studies.search import Journal

from engine import session
from engine.main import main
from studies import delivery, doctor

COMMAND = ["--local", "--ending", "good", "--epochs", "3", "--trials", "4", "--name", "s"]


def ask(folder: Path) -> int:
    where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]
    return main(FAKE, [*COMMAND, *where])


def epochs_in_mlflow(folder: Path) -> dict[str, list[int]]:
    """Of each trial, by number."""
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    return {
        run.data.tags["orrery.trial"]: [
            point.step for point in client.get_metric_history(run.info.run_id, "validation/score")
        ]
        for run in client.search_runs([experiment.experiment_id])
        if "orrery.trial" in run.data.tags and run.info.status == "FINISHED"
    }


ALL = {str(number): [1, 2, 3] for number in range(4)}


def test_the_study_goes_on_while_the_server_is_away_and_it_is_told_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(delivery, "AGAIN", 0.01)
    calls = count()
    real = Recorder.sync

    def away_at_first(self: Recorder, trial: Trial) -> None:
        if next(calls) < 5:
            raise NotRecorded("Connection refused")
        real(self, trial)

    monkeypatch.setattr(Recorder, "sync", away_at_first)
    assert ask(tmp_path) == 0
    said = capsys.readouterr().out
    assert said.count("MLflow cannot be told (Connection refused)") == 1
    assert said.count("MLflow can be told again") == 1
    assert epochs_in_mlflow(tmp_path) == ALL


def test_no_trial_waits_for_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials_are_over = threading.Event()
    sync, finish = Recorder.sync, Ledger.finish

    def waits(self: Recorder, trial: Trial) -> None:
        assert trials_are_over.wait(60), "a trial waited for MLflow"
        sync(self, trial)

    def over(self: Ledger, patience: float) -> list[int]:
        assert self.search.ended == 4
        trials_are_over.set()
        return finish(self, patience)

    monkeypatch.setattr(Recorder, "sync", waits)
    monkeypatch.setattr(Ledger, "finish", over)
    assert ask(tmp_path) == 0
    assert epochs_in_mlflow(tmp_path) == ALL


@pytest.mark.parametrize("again", ["doctor", "same command"])
def test_what_was_not_delivered_is_named_with_the_command_that_delivers_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    again: str,
) -> None:
    def away(*_: object) -> None:
        raise NotRecorded("Connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(session, "PATIENCE", 0.0)
        patch.setattr(Recorder, "sync", away)
        assert ask(tmp_path) == 1
    said = capsys.readouterr()
    assert "best of 4 trials" in said.out
    runs = str(tmp_path / "runs")
    command = f"python studies/doctor.py s --repair --runs-dir {runs}"
    assert said.err.startswith("error: MLflow cannot be told; nothing is lost; ")
    assert f"trials 0, 1, 2, 3 are not delivered: {command} does it" in said.err
    told = Journal(tmp_path / "runs" / "s" / "optuna.log", "s").told()
    assert [each.state for each in told.values()] == ["finished"] * 4
    assert epochs_in_mlflow(tmp_path) == {}
    if again == "doctor":
        assert doctor.main(["s", "--repair", "--runs-dir", runs]) == 0
    else:
        assert ask(tmp_path) == 0
    assert epochs_in_mlflow(tmp_path) == ALL


def test_a_mistake_in_this_program_is_not_taken_for_an_absent_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> None:
        raise KeyError("planted")

    monkeypatch.setattr(Recorder, "sync", mistaken)
    with pytest.raises(KeyError, match="planted"):
        ask(tmp_path)


def test_what_waits_is_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an ended trial only its number waits; its epochs are in its file."""
    kept: list[int] = []

    def away(*_: object) -> None:
        raise NotRecorded("Connection refused")

    finish = Ledger.finish

    def look(self: Ledger, patience: float) -> list[int]:
        kept.extend(len(record.rows) for record in self.records.values())
        return finish(self, patience)

    monkeypatch.setattr(session, "PATIENCE", 0.0)
    monkeypatch.setattr(Recorder, "sync", away)
    monkeypatch.setattr(Ledger, "finish", look)
    assert ask(tmp_path) == 1
    assert kept == [0, 0, 0, 0]


def test_where_a_trial_was_is_not_forgotten_while_the_server_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = ["one"]
    real, sync = Ledger.saved, Recorder.sync

    def moves_once(self: Ledger, number: int, name: str) -> None:
        real(self, number, name)
        if number == 0 and here == ["one"]:
            here[0] = "two"
            self.moved(number)
            again = self.next()
            assert again is not None
            self.resume_from(again)

    def away_at_first(self: Recorder, trial: Trial) -> None:
        if trial.number == 0 and trial.state in ("running", "stopped"):
            raise NotRecorded("Connection refused")
        sync(self, trial)

    monkeypatch.setattr(platform, "node", lambda: here[0])
    monkeypatch.setattr(Ledger, "saved", moves_once)
    monkeypatch.setattr(Recorder, "sync", away_at_first)
    assert ask(tmp_path) == 0
    trial = Records(tmp_path / "runs" / "s" / "ledger").read(0)
    assert trial is not None
    assert (trial.tags["orrery.node"], trial.epoch) == ("one, two", 3)
