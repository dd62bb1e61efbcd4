"""How a study that was interrupted, or ended, goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from asked import (
    Ask,
    epochs_in_mlflow,
    runs_in_mlflow,
    said_in_mlflow,
    stopping_when,
    trials_in_optuna,
)
from fake_task import FakeTask
from optuna.trial import TrialState
from places import TESTS

from studies.interrupts import ENDING
from studies.ledger import Ledger


def test_the_same_command_goes_on_to_the_total(ask: Ask, tmp_path: Path) -> None:
    only_good = ("--local", "--ending", "good", "--epochs", "2")
    assert ask(*only_good, "--trials", "2") == 0
    before = {n: run.info.run_id for n, run in runs_in_mlflow(tmp_path).items()}
    assert ask(*only_good, "--trials", "4") == 0
    after = {n: run.info.run_id for n, run in runs_in_mlflow(tmp_path).items()}
    assert sorted(after) == [-1, 0, 1, 2, 3]
    assert before.items() <= after.items(), "finished trials and the parent run must stay"
    assert [t.state for t in trials_in_optuna(tmp_path)] == [TrialState.COMPLETE] * 4
    assert ask(*only_good, "--trials", "4") == 0
    assert len(trials_in_optuna(tmp_path)) == 4


def test_a_continued_search_proposes_what_an_uninterrupted_one_does(
    ask: Ask, tmp_path: Path
) -> None:
    common = ("--local", "--ending", "good", "bad", "--epochs", "1")
    ask(*common, "--trials", "14")
    whole = [trial.params for trial in trials_in_optuna(tmp_path)]
    for total in ("3", "11", "14"):
        ask(*common, "--trials", total, "--runs-dir", str(tmp_path / "again" / "runs"))
    assert [trial.params for trial in trials_in_optuna(tmp_path / "again")] == whole


@pytest.mark.parametrize("place", [["--local"], pytest.param([], marks=pytest.mark.ray)])
def test_when_the_time_is_up_trials_wait_for_the_next_session(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: list[str]
) -> None:
    slow = [*place, "--ending", "good", "--epochs", "20", "--seconds", "0.1", "--trials", "1"]

    def three_epochs_done(session: Ledger) -> bool:
        return any(record.epoch >= 3 for record in session.records.values())

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "should_stop", stopping_when(three_epochs_done))
        assert ask(*slow) == 0
    (waiting,) = trials_in_optuna(tmp_path)
    assert waiting.state is TrialState.RUNNING
    run = runs_in_mlflow(tmp_path)[0]
    assert (run.info.status, run.data.tags["orrery.state"]) == ("KILLED", "stopped")
    assert 3 <= run.data.metrics["epoch"] < 20
    assert "None of 1 trials has finished so far (1 stopped)" in said_in_mlflow(tmp_path)
    assert ask(*slow) == 0
    assert "so far" not in said_in_mlflow(tmp_path)
    (finished,) = trials_in_optuna(tmp_path)
    assert finished.state is TrialState.COMPLETE
    again = runs_in_mlflow(tmp_path)[0]
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert epochs_in_mlflow(tmp_path, again, "validation/score") == list(range(1, 21))


def _in_another_process(arguments: Sequence[str]) -> subprocess.Popen[str]:
    code = "import sys; from fake_study import FAKE; from studies.study import main; "
    return subprocess.Popen(
        [sys.executable, "-c", code + "sys.exit(main(FAKE, sys.argv[1:]))", *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait_for(process: subprocess.Popen[str], folder: Path, file: str) -> None:
    """Waits until the process has made a file or folder."""
    deadline = time.monotonic() + 180
    while not list(folder.glob(file)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {file} in {folder}"
        time.sleep(0.2)


def _without_a_preflight(folder: Path) -> None:
    """Ray starts with the trials then, as it does when a study goes on."""
    (folder / "runs" / "s").mkdir(parents=True)
    (folder / "runs" / "s" / "optuna.log").touch()


@pytest.mark.ray
@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(
            each, marks=() if each is signal.SIGINT else pytest.mark.acceptance, id=each.name
        )
        for each in ENDING
    ],
)
def test_a_signal_closes_the_runs_and_the_same_command_goes_on(
    ask: Ask, tmp_path: Path, ending: signal.Signals
) -> None:
    common = ["--ending", "good", "--epochs", "25", "--seconds", "0.2", "--trials", "1"]
    _without_a_preflight(tmp_path)
    where = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
    process = _in_another_process([*where, "--name", "s", *common])
    checkpoints = tmp_path / "runs" / "s" / "trials"
    _wait_for(process, checkpoints, "*/*/checkpoint_*/state.pt")
    process.send_signal(ending)
    printed, _ = process.communicate(timeout=180)
    assert process.returncode == 130, printed
    assert "the same command goes on" in printed
    assert runs_in_mlflow(tmp_path)[0].info.status == "KILLED"
    assert runs_in_mlflow(tmp_path)[-1].info.status == "KILLED"
    assert ask(*common) == 0
    run = runs_in_mlflow(tmp_path)[0]
    assert epochs_in_mlflow(tmp_path, run, "validation/score") == list(range(1, 26))


@pytest.mark.ray
@pytest.mark.acceptance
def test_ctrl_c_twice_does_not_wait_for_the_epoch(tmp_path: Path) -> None:
    where = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
    hour = ["--ending", "good", "--epochs", "2", "--seconds", "3600", "--trials", "1"]
    _without_a_preflight(tmp_path)  # it would take the hour
    process = _in_another_process([*where, "--name", "s", *hour])
    assert process.stdout is not None
    _wait_for(process, tmp_path / "runs" / "s" / "trials", "*/trial-00000")
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    for line in process.stdout:
        if line.startswith("ending after the epochs under way; Ctrl-C again ends at once"):
            break
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=180)
    assert process.returncode == 130, printed
    assert "the same command goes on" in printed
    assert {run.info.status for run in runs_in_mlflow(tmp_path).values()} == {"KILLED"}


def test_a_trial_whose_last_epoch_nobody_heard_of_ends_without_training_again(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("--local", "--ending", "good", "--epochs", "3", "--trials", "1")

    def power_cut(*arguments: object) -> None:
        raise KeyboardInterrupt(arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "ended", power_cut)
        assert ask(*common) == 130
    assert trials_in_optuna(tmp_path)[0].state is TrialState.RUNNING
    monkeypatch.setattr(FakeTask, "training_batches", power_cut)
    assert ask(*common) == 0
    (trial,) = trials_in_optuna(tmp_path)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, pytest.approx(0.503, abs=1e-4))
    run = runs_in_mlflow(tmp_path)[0]
    assert epochs_in_mlflow(tmp_path, run, "validation/score") == [1, 2, 3]


def test_a_smaller_total_leaves_a_finished_study_as_it_is(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--local", "--ending", "good", "--epochs", "1")
    assert ask(*common, "--trials", "3") == 0
    assert ask(*common, "--trials", "2") == 0
    assert "best of 3 trials" in capsys.readouterr().out
    assert runs_in_mlflow(tmp_path)[-1].info.status == "FINISHED"


def test_a_stopped_study_ends_where_it_is_with_as_many_trials_as_have_ended(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("--local", "--ending", "good", "--epochs", "2")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "should_stop", stopping_when(lambda s: len(s.records) == 2))
        assert ask(*common, "--trials", "4") == 0
    states = [trial.state for trial in trials_in_optuna(tmp_path)]
    assert states == [TrialState.COMPLETE, TrialState.RUNNING]
    assert ask(*common, "--trials", "1") == 0
    assert runs_in_mlflow(tmp_path)[-1].info.status == "FINISHED"
    assert [trial.state for trial in trials_in_optuna(tmp_path)] == states


def test_a_half_written_checkpoint_is_passed_over(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("--local", "--ending", "good", "--epochs", "4", "--trials", "1")
    with monkeypatch.context() as patch:
        patch.setattr(
            Ledger,
            "should_stop",
            stopping_when(lambda session: any(r.epoch == 3 for r in session.records.values())),
        )
        assert ask(*common) == 0
    *_, older, newest = sorted((tmp_path / "runs" / "s" / "trials").glob("*/*/*/state.pt"))
    assert (older.parent.name, newest.parent.name) == ("checkpoint_000002", "checkpoint_000003")
    newest.write_bytes(newest.read_bytes()[:-50])
    assert ask(*common) == 0
    run = runs_in_mlflow(tmp_path)[0]
    assert epochs_in_mlflow(tmp_path, run, "validation/score") == [1, 2, 3, 4]


@pytest.mark.parametrize("lost", ["journal", "store"])
def test_a_journal_and_a_tracking_store_of_two_studies_are_refused(
    ask: Ask,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
) -> None:
    common = ("--local", "--ending", "good", "--epochs", "1", "--trials", "1")
    assert ask(*common) == 0
    if lost == "journal":
        (tmp_path / "runs" / "s").rename(tmp_path / "removed")
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    capsys.readouterr()
    assert ask(*common) == 2
    assert "do not know the same study s" in capsys.readouterr().err
    assert (tmp_path / "runs" / "s" / "optuna.log").exists() == (lost == "store")
