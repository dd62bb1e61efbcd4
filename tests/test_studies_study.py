"""Whole studies, on Ray and without: what reaches Optuna and MLflow, and how a study goes on."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import optuna
import pytest
from fake_study import FAKE, FakeTask
from mlflow.entities import Run
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from studies import budgets, doctor
from studies.budgets import Stop
from studies.interrupts import ENDING
from studies.ledger import Ledger
from studies.records import Records
from studies.search import Journal
from studies.study import main

Ask = Callable[..., int]


pytestmark = pytest.mark.usefixtures("workers_find_the_fake_study")


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Asks the fake study, with everything in a folder of the test."""

    def ask(*arguments: str) -> int:
        where = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
        return main(FAKE, [*where, "--name", "s", *arguments])

    return ask


def trials_in_optuna(folder: Path) -> list[FrozenTrial]:
    journal = JournalStorage(JournalFileBackend(str(folder / "runs" / "s" / "optuna.log")))
    return optuna.load_study(study_name="s", storage=journal).get_trials()


def runs_in_mlflow(folder: Path) -> dict[int, Run]:
    """Trial number -> run; the parent stands under -1."""
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return {int(run.data.tags.get("orrery.trial", -1)): run for run in runs}


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


ENDINGS = {
    "good": ("finished", ""),
    "non_finite": (
        "failed",
        r"loss nan in epoch 2, batch 1 of 1; last finite loss: \d\S*, the mean",
    ),
    "raises": ("failed", r"RuntimeError: planted: the trial raises$"),
    "dies": ("failed", r"its process died 2 times: Worker unexpectedly exits"),
    "no_start": ("failed", r"RuntimeError: planted: the trial does not even begin$"),
    "memory": ("infeasible", r".*can't allocate memory: you tried to allocate \d+ bytes"),
    "crowded": ("finished", ""),
    "stuck": ("failed", r"no epoch for 0.3 minutes: stopped \(--trial-timeout\)$"),
}
"""How a trial ends -> what it is told as, and why."""


@pytest.mark.ray
@pytest.mark.slow
def test_every_ending_reaches_optuna_and_mlflow_as_what_it_is(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ["--max-failures", "1", "--trial-timeout", "0.3", "--trials", str(len(ENDINGS))]
    marker = ["--marker", str(tmp_path / "marker")]
    assert ask("--epochs", "4", "--ending", *ENDINGS, *limits, *marker) == 0
    said = capsys.readouterr().out
    journal = Journal(tmp_path / "runs" / "s" / "optuna.log", "s")
    told = journal.told()
    recorded = runs_in_mlflow(tmp_path)
    assert told[0].value == pytest.approx(0.504, abs=1e-4)
    for number, (state, reason) in enumerate(ENDINGS.values()):
        run = recorded[number]
        assert (told[number].state, run.data.tags["orrery.state"]) == (state, state)
        assert run.info.status == ("FINISHED" if state == "finished" else "FAILED")
        assert re.match(reason, told[number].reason), told[number].reason
        assert run.data.tags.get("orrery.reason", "") == told[number].reason
        assert run.data.tags["mlflow.parentRunId"] == recorded[-1].info.run_id
    assert recorded[-1].info.status == "FINISHED"
    assert "planted: last words" in recorded[3].data.tags["mlflow.note.content"]
    assert "its process died after epoch 1; it goes on from its checkpoint (1 of 1 times)" in said
    assert said.count("it will be tried again alone, with the whole device") == 2
    (infeasible,) = (t for t in journal.study.get_trials() if t.constraints)
    assert (infeasible.number, infeasible.state) == (5, TrialState.PRUNED)
    assert doctor.main(["s", "--runs-dir", str(tmp_path / "runs")]) == 0


@pytest.mark.parametrize(
    ("code", "place"),
    [
        (errno.ENOSPC, ["--local"]),
        (errno.EROFS, ["--local"]),
        (errno.ENOENT, ["--local"]),
        pytest.param(errno.ENOSPC, [], marks=pytest.mark.ray),
    ],
)
def test_trouble_with_the_machine_ends_the_session_and_no_trial(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int, place: list[str]
) -> None:
    """A full disk, a folder that cannot be written any more, a cache that is gone."""
    marker = tmp_path / "marker"
    marker.write_text(str(code))
    common = [*place, "--epochs", "3", "--ending", "good", "trouble", "--trials", "3"]
    assert ask(*common, "--marker", str(marker)) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match(
        f"error: {os.strerror(code)}: {marker}; [012] of 3 trials are done; once", said
    )
    states = [trial.state for trial in trials_in_optuna(tmp_path)]
    assert TrialState.FAIL not in states
    marker.unlink()
    assert ask(*common, "--marker", str(marker)) == 0
    assert {t.state for t in trials_in_optuna(tmp_path)} <= {
        TrialState.COMPLETE,
        TrialState.PRUNED,
    }
    run = runs_in_mlflow(tmp_path)[1]
    assert epochs_in_mlflow(tmp_path, run, "validation/score") == [1, 2, 3]


@pytest.mark.parametrize(
    ("owner", "name"), [(Records, "write"), (JournalFileBackend, "append_logs")]
)
def test_a_full_disk_under_the_study_itself_loses_nothing(
    ask: Ask,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
) -> None:
    common = ("--local", "--epochs", "2", "--ending", "good", "--trials", "3")
    assert ask(*common[:-1], "1") == 0
    calls = count()
    real = getattr(owner, name)

    def full(self: Any, *arguments: Any) -> None:
        if next(calls) < 1:
            real(self, *arguments)
        else:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs")

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        assert ask(*common) == 2
    assert "error: No space left on device: runs; " in capsys.readouterr().err
    assert ask(*common) == 0
    assert [t.state for t in trials_in_optuna(tmp_path)] == [TrialState.COMPLETE] * 3
    assert doctor.main(["s", "--runs-dir", str(tmp_path / "runs")]) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB, on ``runs``."""
    folder = tmp_path / "runs"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only who may mount a file system can fill one up")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("place", [["--local"], pytest.param([], marks=pytest.mark.ray)])
def test_a_disk_that_is_really_full_loses_nothing(
    ask: Ask,
    tmp_path: Path,
    small_disk: Path,
    capsys: pytest.CaptureFixture[str],
    place: list[str],
) -> None:
    common = [*place, "--epochs", "4", "--ending", "good", "bad"]
    assert ask(*common, "--trials", "2") == 0
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 40 * 2**10))
    capsys.readouterr()
    assert ask(*common, "--trials", "6") == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "Traceback" not in said
    assert ask(*common, "--trials", "6") == 2, "it is still full"
    assert "Traceback" not in capsys.readouterr().err
    filler.unlink()
    assert ask(*common, "--trials", "6") == 0
    assert {t.state for t in trials_in_optuna(tmp_path)} <= {
        TrialState.COMPLETE,
        TrialState.PRUNED,
    }
    assert doctor.main(["s", "--runs-dir", str(small_disk)]) == 0


def test_a_session_whose_first_five_trials_fail_is_given_up(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask("--local", "--epochs", "2", "--ending", "non_finite", "--trials", "9") == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the first 5 trials failed: loss nan in epoch 2")
    assert len(trials_in_optuna(tmp_path)) == 5
    assert runs_in_mlflow(tmp_path)[-1].info.status == "KILLED"


@pytest.mark.parametrize(
    ("limit", "reason", "trials"),
    [
        ([], "all 12 trials are done", 12),
        (["--target-metric", "0.8"], r"validation/score 0\.\d+ reached the target of 0.8", None),
        (["--plateau", "4"], "no better trial among the last 4", None),
    ],
)
def test_the_study_says_which_budget_ended_it(
    ask: Ask,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    limit: list[str],
    reason: str,
    trials: int | None,
) -> None:
    common = ["--local", "--epochs", "1", "--ending", "good", "--trials", "12", *limit]
    assert ask(*common) == 0
    assert re.search(f"ended because {reason}", capsys.readouterr().out)
    values = [trial.value or 0.0 for trial in trials_in_optuna(tmp_path)]
    assert len(values) < 12 or len(values) == trials
    if "--target-metric" in limit:
        assert values[-1] >= 0.8 > max(values[:-1])
    if "--plateau" in limit:
        assert values.index(max(values)) == len(values) - 1 - 4
    parent = runs_in_mlflow(tmp_path)[-1]
    assert parent.info.status == "FINISHED"
    assert re.match(reason, parent.data.tags["orrery.ended_by"])
    assert ask(*common) == 0
    assert len(trials_in_optuna(tmp_path)) == len(values), "what has ended has ended"


@pytest.mark.ray
def test_a_trial_stopped_by_asha_is_pruned_at_its_budget(ask: Ask, tmp_path: Path) -> None:
    common = ("--ending", "good", "bad", "--max-concurrent", "1", "--sampler", "random")
    assert ask("--trials", "12", "--epochs", "10", *common) == 0
    told = trials_in_optuna(tmp_path)
    recorded = runs_in_mlflow(tmp_path)
    pruned = [trial for trial in told if trial.state is TrialState.PRUNED]
    assert pruned, "no trial was pruned: the search drew no bad one"
    for trial in pruned:
        (budget,) = trial.intermediate_values
        assert budget in (2, 4, 8)
        run = recorded[trial.number]
        assert (run.info.status, run.data.tags["orrery.state"]) == ("FINISHED", "pruned")
        assert run.data.metrics["epoch"] == budget
        value = run.data.metrics["validation/score"]
        assert trial.intermediate_values[budget] == pytest.approx(value)
    assert told[1].params["ending"] == "bad"
    assert told[1].state is TrialState.COMPLETE, "a baseline must never be stopped early"
    complete = [trial for trial in told if trial.state is TrialState.COMPLETE]
    assert all(recorded[t.number].data.metrics["epoch"] == 10 for t in complete)


def test_params_epochs_and_tags_are_all_recorded(ask: Ask, tmp_path: Path) -> None:
    assert ask("--local", "--trials", "1", "--epochs", "3") == 0
    run = runs_in_mlflow(tmp_path)[0]
    assert run.data.params["learning_rate"] == "0.002"
    assert run.data.params["epochs"] == "3"
    assert epochs_in_mlflow(tmp_path, run, "validation/score") == [1, 2, 3]
    assert epochs_in_mlflow(tmp_path, run, "train/loss") == [1, 2, 3]
    assert run.data.tags["orrery.device"] == "cpu"
    assert run.data.tags["orrery.node"]
    assert run.info.run_name == "0000 good 0.500"
    parent = runs_in_mlflow(tmp_path)[-1]
    assert parent.data.params["data.digest"] == "digest of nothing"
    assert "--trials 1" in parent.data.tags["orrery.command"]
    assert run.data.tags["orrery.data"] == "digest of nothing", "with every trial"
    assert parent.inputs is not None
    assert parent.inputs.dataset_inputs[0].dataset.digest == "digest of nothing"
    assert parent.data.metrics["best/validation/score"] == pytest.approx(0.503, abs=1e-4)


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


def test_another_seed_proposes_something_else(ask: Ask, tmp_path: Path) -> None:
    common = ("--local", "--ending", "good", "--epochs", "1", "--trials", "3")
    ask(*common)
    ask(*common, "--seed", "1", "--runs-dir", str(tmp_path / "other" / "runs"))
    first, other = trials_in_optuna(tmp_path), trials_in_optuna(tmp_path / "other")
    assert first[0].params == other[0].params, "the baseline is the same"
    assert first[2].params != other[2].params


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (["--dataset", "something"], "data.dataset was nothing, now something"),
        (["--dropout", "1"], "unrecognized arguments"),
        (["--level", "0.1"], "space.fixed.level is new"),
        (["--ending", "good", "bad"], "space.searched.ending"),
        (["--seed", "3"], "seed was 0, now 3"),
        (["--sampler", "random"], "sampler was tpe, now random"),
        (["--epochs", "5"], "space.fixed.epochs was 2, now 5"),
    ],
)
def test_a_changed_question_under_the_same_name_is_refused(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: list[str], named: str
) -> None:
    base = ["--local", "--epochs", "2", "--trials", "1"]
    assert ask(*base) == 0
    journal = (tmp_path / "runs" / "s" / "optuna.log").read_bytes()
    capsys.readouterr()
    assert ask(*base, *changed) == 2
    assert named in capsys.readouterr().err
    assert (tmp_path / "runs" / "s" / "optuna.log").read_bytes() == journal
    assert len(runs_in_mlflow(tmp_path)) == 2


def test_a_preset_tries_each_compared_value_once(ask: Ask, tmp_path: Path) -> None:
    assert ask("--local", "--preset", "named", "--ending", "good", "bad", "--epochs", "1") == 0
    told = trials_in_optuna(tmp_path)
    assert [trial.params for trial in told] == [{"ending": "good"}, {"ending": "bad"}]
    assert {runs_in_mlflow(tmp_path)[n].data.params["level"] for n in (0, 1)} == {"0.25"}


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
    assert ask(*slow) == 0
    (finished,) = trials_in_optuna(tmp_path)
    assert finished.state is TrialState.COMPLETE
    again = runs_in_mlflow(tmp_path)[0]
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert epochs_in_mlflow(tmp_path, again, "validation/score") == list(range(1, 21))


def test_a_time_budget_is_in_minutes(
    ask: Ask, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = count(0, 31)
    monkeypatch.setattr(budgets, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    only = ("--local", "--ending", "good", "--epochs", "2", "--trials", "1")
    assert ask(*only, "--time-budget", "0.5") == 0
    assert (
        "the time budget of 0.5 minutes is used up after 0 of 1 trials" in capsys.readouterr().out
    )
    assert ask(*only, "--time-budget", "5") == 0


def test_a_study_without_a_finished_trial_says_why(
    ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask("--local", "--ending", "non_finite", "--epochs", "3", "--trials", "1") == 1
    assert "loss nan in epoch 2" in capsys.readouterr().err


def test_two_processes_cannot_run_one_study(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import filelock

    (tmp_path / "runs" / "s").mkdir(parents=True)
    with filelock.FileLock(tmp_path / "runs" / "s" / "lock"):
        assert ask("--local", "--trials", "1") == 2
    assert "is running in another process" in capsys.readouterr().err


def test_the_log_has_one_line_a_trial(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    ask("--local", "--ending", "good", "non_finite", "--epochs", "2", "--trials", "2")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "study s: 0 of 2 trials done"
    assert re.match(
        r" +1/2 +trial 0 +finished +good 0.500 +validation/score 0.5020 +epoch 2", lines[1]
    )
    assert re.match(r" +2/2 +trial 1 +failed +non_finite 0.500 +loss nan in epoch 2", lines[2])
    assert Counter(line.count("trial ") for line in lines[1:3]) == {1: 2}


def _in_another_process(arguments: Sequence[str]) -> subprocess.Popen[str]:
    code = "import sys; from fake_study import FAKE; from studies.study import main; "
    return subprocess.Popen(
        [sys.executable, "-c", code + "sys.exit(main(FAKE, sys.argv[1:]))", *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _without_a_preflight(folder: Path) -> None:
    """Ray starts with the trials then, as it does when a study goes on."""
    (folder / "runs" / "s").mkdir(parents=True)
    (folder / "runs" / "s" / "optuna.log").touch()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDING, ids=lambda ending: ending.name)
def test_a_signal_closes_the_runs_and_the_same_command_goes_on(
    ask: Ask, tmp_path: Path, ending: signal.Signals
) -> None:
    common = ["--ending", "good", "--epochs", "25", "--seconds", "0.2", "--trials", "1"]
    _without_a_preflight(tmp_path)
    where = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
    process = _in_another_process([*where, "--name", "s", *common])
    checkpoints = tmp_path / "runs" / "s" / "trials"
    deadline = time.monotonic() + 60
    while not list(checkpoints.glob("*/*/checkpoint_*/state.pt")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(ending)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130, printed
    assert "the same command goes on" in printed
    assert runs_in_mlflow(tmp_path)[0].info.status == "KILLED"
    assert runs_in_mlflow(tmp_path)[-1].info.status == "KILLED"
    assert ask(*common) == 0
    run = runs_in_mlflow(tmp_path)[0]
    assert epochs_in_mlflow(tmp_path, run, "validation/score") == list(range(1, 26))


@pytest.mark.ray
@pytest.mark.slow
def test_ctrl_c_twice_does_not_wait_for_the_epoch(tmp_path: Path) -> None:
    where = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
    hour = ["--ending", "good", "--epochs", "2", "--seconds", "3600", "--trials", "1"]
    _without_a_preflight(tmp_path)  # it would take the hour
    process = _in_another_process([*where, "--name", "s", *hour])
    assert process.stdout is not None
    while not list((tmp_path / "runs" / "s" / "trials").glob("*/trial-00000")):
        assert process.poll() is None
        time.sleep(0.2)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    for line in process.stdout:
        if line.startswith("ending after the epochs under way; Ctrl-C again ends at once"):
            break
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
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


def test_an_error_that_nobody_foresaw_leaves_no_run_open(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="planted"):
        ask("--local", "--ending", "raises", "--epochs", "3", "--trials", "1")
    statuses = {number: run.info.status for number, run in runs_in_mlflow(tmp_path).items()}
    assert statuses == {-1: "KILLED", 0: "KILLED"}
