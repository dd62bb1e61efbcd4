"""How a study that was interrupted, or ended, goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from asked import (
    Ask,
    epochs_in_mlflow,
    has_epochs,
    log_file,
    runs_in_mlflow,
    said_in_mlflow,
    score_of,
    stopping_when,
    trials_in_log,
)
from fake_task import FakeTask
from places import TESTS

from engine.agenda import Agenda
from engine.driver import Driver, Verdict
from engine.interrupts import ENDING
from engine.results import report_of
from studies import doctor
from trainables.message import Message


def test_the_same_command_goes_on_to_the_total(ask: Ask, tmp_path: Path) -> None:
    only_good = ("--local", "--ending", "good", "--epochs", "2")
    assert ask(*only_good, "--trials", "2") == 0
    before = {n: run.info.run_id for n, run in runs_in_mlflow(tmp_path).items()}
    assert ask(*only_good, "--trials", "4") == 0
    after = {n: run.info.run_id for n, run in runs_in_mlflow(tmp_path).items()}
    assert sorted(after) == [-1, 0, 1, 2, 3]
    assert before.items() <= after.items(), "finished trials and the parent run must stay"
    assert [t.status for t in trials_in_log(tmp_path)] == ["finished"] * 4
    assert ask(*only_good, "--trials", "4") == 0
    assert len(trials_in_log(tmp_path)) == 4


def test_a_continued_search_proposes_what_an_uninterrupted_one_does(
    ask: Ask, tmp_path: Path
) -> None:
    common = ("--local", "--ending", "good", "bad", "--epochs", "1")
    ask(*common, "--trials", "14")
    whole = [trial.drawn for trial in trials_in_log(tmp_path)]
    for total in ("3", "11", "14"):
        ask(*common, "--trials", total, "--runs-dir", str(tmp_path / "again" / "runs"))
    assert [trial.drawn for trial in trials_in_log(tmp_path / "again")] == whole


@pytest.mark.parametrize("place", [["--local"], pytest.param([], marks=pytest.mark.ray)])
def test_when_the_time_is_up_trials_wait_for_the_next_session(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: list[str]
) -> None:
    slow = [*place, "--ending", "good", "--epochs", "20", "--seconds", "0.1", "--trials", "1"]

    with monkeypatch.context() as patch:
        patch.setattr(Agenda, "should_stop", stopping_when(has_epochs(0, 3)))
        assert ask(*slow) == 0
    (waiting,) = trials_in_log(tmp_path)
    assert waiting.status == "paused"
    run = runs_in_mlflow(tmp_path)[0]
    assert (run.info.status, run.data.tags["orrery.state"]) == ("KILLED", "paused")
    assert 3 <= run.data.metrics["epoch"] < 20
    assert "None of 1 trials has finished so far (1 paused)" in said_in_mlflow(tmp_path)
    assert ask(*slow) == 0
    assert "so far" not in said_in_mlflow(tmp_path)
    (finished,) = trials_in_log(tmp_path)
    assert finished.status == "finished"
    again = runs_in_mlflow(tmp_path)[0]
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert epochs_in_mlflow(tmp_path, again, "validation/score") == list(range(1, 21))


def _in_another_process(arguments: Sequence[str]) -> subprocess.Popen[str]:
    code = "import sys; from fake_study import FAKE; from engine.main import main; "
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


def _wait_for_a_trial(process: subprocess.Popen[str]) -> None:
    """Waits until Ray has begun a trial in a process of its own."""
    deadline = time.monotonic() + 180
    while not any("ray::" in each and "Trainable" in each for each in _below(process.pid)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no trial"
        time.sleep(0.2)


def _below(pid: int) -> Iterator[str]:
    """What the processes below one call themselves."""
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):
            yield " ".join(child.cmdline())


def _without_a_preflight(folder: Path) -> None:
    """Ray starts with the trials then, as it does when a study goes on."""
    (folder / "runs" / "s").mkdir(parents=True)
    log_file(folder).touch()


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
    _wait_for_a_trial(process)
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

    def cut_before_the_last(heard: Callable[[Driver, Message], Verdict]) -> Any:
        def heard_or_not(driver: Driver, message: Message) -> Verdict:
            if message.epochs[-1]["epoch"] == 3:
                power_cut()
            return heard(driver, message)

        return heard_or_not

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "heard", cut_before_the_last(Driver.heard))
        assert ask(*common) == 130
    (left,) = trials_in_log(tmp_path)
    assert (left.status, left.epoch) == ("paused", 2)
    monkeypatch.setattr(FakeTask, "training_batches", power_cut)
    assert ask(*common) == 0
    (trial,) = trials_in_log(tmp_path)
    assert (trial.status, score_of(trial)) == ("finished", pytest.approx(0.503, abs=1e-4))
    run = runs_in_mlflow(tmp_path)[0]
    assert epochs_in_mlflow(tmp_path, run, "validation/score") == [1, 2, 3]


@pytest.mark.ray
def test_what_was_reported_is_not_lost_with_the_process_that_trained_it(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several epochs are in a message, at the pace at which studies run."""
    told: list[Message] = []
    heard = Driver.heard

    def killing(driver: Driver, message: Message) -> Verdict:
        verdict = heard(driver, message)
        told.append(message)
        if len(told) == 3:
            os.kill(message.where["process"], signal.SIGKILL)
        return verdict

    monkeypatch.setattr(Driver, "heard", killing)
    fast = ["--ending", "good", "--epochs", "40", "--seconds", "0.03", "--trials", "1"]
    assert ask(*fast, "--max-failures", "1") == 0
    assert "trial 0: its process died after epoch" in capsys.readouterr().out
    (trial,) = trials_in_log(tmp_path)
    assert (trial.status, len(trial.placements)) == ("finished", 2)
    assert [report.epoch for report in trial.reports] == list(range(1, 41))
    rows = [report_of(row) for message in told for row in message.epochs]
    assert len(rows) >= 3 * 2, "or each epoch was a message"
    epochs = [row.epoch for row in rows]
    assert epochs == sorted(set(epochs)), "an epoch was trained twice"
    assert rows == [trial.reports[epoch - 1] for epoch in epochs]
    run = runs_in_mlflow(tmp_path)[0]
    assert epochs_in_mlflow(tmp_path, run, "validation/score") == list(range(1, 41))


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
        patch.setattr(Agenda, "should_stop", stopping_when(has_epochs(1, 1)))
        assert ask(*common, "--trials", "4") == 0
    states = [trial.status for trial in trials_in_log(tmp_path)]
    assert states == ["finished", "paused"]
    assert ask(*common, "--trials", "1") == 0
    assert runs_in_mlflow(tmp_path)[-1].info.status == "FINISHED"
    assert [trial.status for trial in trials_in_log(tmp_path)] == states


def test_a_half_written_checkpoint_is_passed_over(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("--local", "--ending", "good", "--epochs", "4", "--trials", "1")
    with monkeypatch.context() as patch:
        patch.setattr(Agenda, "should_stop", stopping_when(has_epochs(0, 3)))
        assert ask(*common) == 0
    *_, older, newest = sorted((tmp_path / "runs" / "s" / "trials").glob("*/*/*/state.pt"))
    assert (older.parent.name, newest.parent.name) == ("checkpoint_000002", "checkpoint_000003")
    newest.write_bytes(newest.read_bytes()[:-50])
    assert ask(*common) == 0
    run = runs_in_mlflow(tmp_path)[0]
    assert epochs_in_mlflow(tmp_path, run, "validation/score") == [1, 2, 3, 4]


def test_a_log_and_a_tracking_store_of_two_studies_are_refused(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--local", "--ending", "good", "--epochs", "1", "--trials", "1")
    assert ask(*common) == 0
    (tmp_path / "runs" / "s").rename(tmp_path / "removed")
    capsys.readouterr()
    assert ask(*common) == 2
    assert "do not know the same study s" in capsys.readouterr().err
    assert not log_file(tmp_path).exists()


def test_checkpoints_without_a_log_are_refused(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--local", "--ending", "good", "--epochs", "1", "--trials", "1")
    assert ask(*common) == 0
    log_file(tmp_path).unlink()
    (tmp_path / "runs" / "mlflow.db").unlink()
    capsys.readouterr()
    assert ask(*common) == 2
    assert "has checkpoints of a study whose log is gone" in capsys.readouterr().err
    assert not log_file(tmp_path).exists()


def test_a_tracking_store_that_was_lost_is_told_again(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("--local", "--ending", "good", "--epochs", "2")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'lost.db'}")
        assert ask(*common, "--trials", "2") == 0
    assert ask(*common, "--trials", "3") == 0
    runs = runs_in_mlflow(tmp_path)
    assert sorted(runs) == [-1, 0, 1, 2]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert epochs_in_mlflow(tmp_path, runs[0], "validation/score") == [1, 2]
    assert doctor.main(["s", "--runs-dir", str(tmp_path / "runs")]) == 0


def test_a_log_with_a_torn_last_line_goes_on_and_says_so(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--local", "--ending", "good", "--epochs", "2")
    assert ask(*common, "--trials", "1") == 0
    with log_file(tmp_path).open("ab") as file:
        file.write(b'1a2b3c4d 99 [{"event":')
    capsys.readouterr()
    assert ask(*common, "--trials", "2") == 0
    assert "the last line was cut off when it was written" in capsys.readouterr().out
    assert [trial.status for trial in trials_in_log(tmp_path)] == ["finished", "finished"]
