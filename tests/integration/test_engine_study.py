"""Whole studies, on Ray and without: what reaches the log and MLflow."""

import hashlib
import re
from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_study
import pytest
from asked import (
    Ask,
    epochs_in_mlflow,
    log_file,
    runs_in_mlflow,
    score_of,
    searched_in_log,
    trials_in_log,
)
from fake_study import FAKE, FakeOptions, open_fake
from ray import tune
from ray.tune import ResultGrid
from trained_studies import known

from datasets.errors import InputError
from engine import budgets, local_backend
from engine.main import main
from engine.on_ray.tune_parts import Proposals, Verdicts
from studies import replay
from trainables.fit import SupervisedProblem
from trainables.trainable import TrialTrainable
from trainables.trial_spec import TrialSpec
from trainables.worker import Worker


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
    values = [score_of(trial) for trial in trials_in_log(tmp_path)]
    assert len(values) < 12 or len(values) == trials
    if "--target-metric" in limit:
        assert values[-1] >= 0.8 > max(values[:-1])
    if "--plateau" in limit:
        assert values.index(max(values)) == len(values) - 1 - 4
    parent = runs_in_mlflow(tmp_path)[-1]
    assert parent.info.status == "FINISHED"
    assert re.match(reason, parent.data.tags["orrery.ended_by"])
    assert ask(*common) == 0
    assert len(trials_in_log(tmp_path)) == len(values), "what has ended has ended"


@pytest.mark.ray
def test_a_trial_stopped_by_asha_is_pruned_at_its_budget(stopped_early: Path) -> None:
    told = searched_in_log(stopped_early)
    recorded = runs_in_mlflow(stopped_early)
    pruned = [trial for trial in told if trial.status == "pruned"]
    assert pruned, "no trial was pruned: the search drew no bad one"
    for trial in pruned:
        budget = trial.epoch
        assert budget in (2, 4, 8)
        run = recorded[trial.number]
        assert (run.info.status, run.data.tags["orrery.state"]) == ("FINISHED", "pruned")
        assert run.data.metrics["epoch"] == budget
        assert run.data.metrics["validation/score"] == score_of(trial)
    assert told[1].drawn["ending"] == "bad"
    assert told[1].status == "finished", "a baseline must never be stopped early"
    complete = [trial for trial in told if trial.status == "finished"]
    assert all(recorded[t.number].data.metrics["epoch"] == 10 for t in complete)


@pytest.mark.ray
def test_trials_are_trainables_that_a_tuner_runs(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is asked for otherwise; who reports hears the verdict in Tune's own call."""
    made: list[Any] = []
    ran: list[ResultGrid] = []
    begin, fit = tune.Tuner.__init__, tune.Tuner.fit

    def begun(tuner: tune.Tuner, trainable: Any, **settings: Any) -> None:
        made.append((trainable, settings["tune_config"]))
        begin(tuner, trainable, **settings)

    monkeypatch.setattr(tune.Tuner, "__init__", begun)
    monkeypatch.setattr(tune.Tuner, "fit", lambda tuner: ran.append(fit(tuner)))
    assert ask("--ending", "good", "--epochs", "2", "--trials", "2") == 0
    ((trainable, config),) = made
    assert issubclass(trainable, TrialTrainable)
    assert issubclass(trainable, tune.Trainable)
    assert isinstance(config.scheduler, Verdicts)
    assert isinstance(config.search_alg, Proposals)
    (grid,) = ran
    assert len(grid) == len(trials_in_log(tmp_path)) == 2
    assert grid.num_errors == 0


def test_params_epochs_and_tags_are_all_recorded(ask: Ask, tmp_path: Path) -> None:
    assert ask("--local", "--trials", "1", "--epochs", "3") == 0
    run = runs_in_mlflow(tmp_path)[0]
    assert run.data.params["learning_rate"] == "0.002"
    assert run.data.params["epochs"] == "3"
    assert epochs_in_mlflow(tmp_path, run, "validation/score") == [1, 2, 3]
    assert epochs_in_mlflow(tmp_path, run, "train/loss") == [1, 2, 3]
    assert run.data.tags["orrery.device"] == "cpu"
    assert run.data.tags["orrery.node"]
    assert run.data.tags["orrery.threads"] == "1"
    assert "torch==" in run.data.tags["orrery.versions"]
    code = runs_in_mlflow(tmp_path)[-1].data.tags["mlflow.source.git.commit"]
    assert run.data.tags["orrery.commit"] == code
    assert run.info.run_name == "0000 good 0.500"
    parent = runs_in_mlflow(tmp_path)[-1]
    assert parent.data.params["data.digest"] == "digest of nothing"
    assert "--trials 1" in parent.data.tags["orrery.command"]
    file = Path(fake_study.__file__)
    assert parent.data.tags["orrery.file"] == str(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert parent.data.tags["orrery.file_sha256"] == digest
    assert run.data.tags["orrery.data"] == "digest of nothing", "with every trial"
    assert parent.inputs is not None
    assert parent.inputs.dataset_inputs[0].dataset.digest == "digest of nothing"
    assert parent.data.metrics["best/validation/score"] == pytest.approx(0.503, abs=1e-4)


def test_facts_of_the_data_stand_beside_what_the_engine_and_the_user_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = dict.fromkeys(["trial", "kind", "state", "of", "identity", "digest", "dataset"], "9")

    def open_with_facts(options: FakeOptions, *arguments: Any) -> SupervisedProblem:
        return replace(open_fake(options, *arguments), facts=facts)

    study = replace(FAKE, open=open_with_facts)
    where = ("--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data"))
    only = ("--local", "--ending", "good", "--epochs", "1", "--trials", "1")
    assert main(study, [*only, *where, "--name", "s"]) == 0
    recorded = known(tmp_path / "runs", "s")
    (trial,) = recorded.trials
    assert (trial.number, trial.status, trial.replicate_of) == (0, "finished", None)
    tags = runs_in_mlflow(tmp_path)[0].data.tags
    assert {name: tags[f"orrery.data.{name}"] for name in facts} == facts
    assert recorded.data_options(FakeOptions) == FakeOptions("nothing")
    assert recorded.params["data.digest"] == "digest of nothing"
    assert {name: recorded.fact(name) for name in facts} == facts
    monkeypatch.setattr(fake_study, "STUDY", study, raising=False)
    assert replay.main(["s/0", *where]) == 0


def test_a_fact_is_read_by_its_name_or_missed_by_it(ask: Ask, tmp_path: Path) -> None:
    assert ask("--local", "--ending", "good", "--epochs", "1", "--trials", "1") == 0
    recorded = known(tmp_path / "runs", "s")
    assert (recorded.fact("train"), recorded.fact("unit", "none")) == (1, "none")
    with pytest.raises(InputError, match="s does not say what pixels its data have"):
        recorded.fact("pixels")


def test_another_seed_proposes_something_else(ask: Ask, tmp_path: Path) -> None:
    common = ("--local", "--ending", "good", "--epochs", "1", "--trials", "3")
    ask(*common)
    ask(*common, "--seed", "1", "--runs-dir", str(tmp_path / "other" / "runs"))
    first, other = trials_in_log(tmp_path), trials_in_log(tmp_path / "other")
    assert first[0].drawn == other[0].drawn, "the baseline is the same"
    assert first[2].drawn != other[2].drawn


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (["--dataset", "something"], "data.dataset was nothing, now something"),
        (["--dropout", "1"], "unrecognized arguments"),
        (["--level", "1.5"], "--level was 0 to 1, now 1.5"),
        (["--gradient-clip", "0.5"], "--gradient-clip was not searched, now 0.5"),
        (["--seed", "3"], "seed was 0, now 3"),
        (["--sampler", "random"], "sampler was tpe, now random"),
        (
            ["--epochs", "5"],
            "--epochs was 2, now 5; give this one a --name of its own and start it --from s",
        ),
    ],
)
def test_a_changed_question_under_the_same_name_is_refused(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: list[str], named: str
) -> None:
    base = ["--local", "--epochs", "2", "--trials", "1"]
    assert ask(*base) == 0
    log = log_file(tmp_path).read_bytes()
    capsys.readouterr()
    assert ask(*base, *changed) == 2
    assert named in capsys.readouterr().err
    assert log_file(tmp_path).read_bytes() == log
    assert len(runs_in_mlflow(tmp_path)) == 2


def test_a_preset_tries_each_compared_value_once(ask: Ask, tmp_path: Path) -> None:
    assert ask("--local", "--preset", "named", "--ending", "good", "bad", "--epochs", "1") == 0
    told = trials_in_log(tmp_path)
    assert [trial.drawn for trial in told] == [{"ending": "good"}, {"ending": "bad"}]
    assert {runs_in_mlflow(tmp_path)[n].data.params["level"] for n in (0, 1)} == {"0.25"}


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


def test_a_trial_is_told_the_whole_path_of_its_folder(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process may run in another folder than the study's command."""
    monkeypatch.chdir(tmp_path)
    told: list[TrialSpec] = []

    class Told(Worker):
        def __init__(self, spec: TrialSpec, *given: Any) -> None:
            told.append(spec)
            super().__init__(spec, *given)

    monkeypatch.setattr(local_backend, "Worker", Told)
    assert ask("--local", "--epochs", "1", "--trials", "1", "--runs-dir", "here") == 0
    assert told[0].folder == str(tmp_path / "here/s/trials/session-0001/trial-00000")
