"""The test split at the end of a study: each trial is scored once, kept in MLflow and logged."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asked import log_file, runs_in_mlflow, state_in_log
from crashing import dies, killed_in
from fake_study import FAKE
from trained_studies import MOLECULES, command, copied_runs, known

from analysis import kept_weights
from analysis.molecule_scorecard import MoleculeScorecard
from analysis.scorecard import Scorecard
from datasets.errors import InputError
from datasets.sources import MoleculeSet
from engine import conclude, keep
from engine.main import main
from record.artifacts import Artifacts
from record.events import Scored
from record.log import FileLog
from record.outcomes import FILE, Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial
from studies import gnn_sweep
from trainables import checkpoint
from trainables.molecules import MoleculeProblem
from trainables.trial_spec import trial_folder

ASKED = (
    *("--local", "--ending", "good", "bad", "--sampler", "random", "--trials", "5"),
    *("--epochs", "2", "--finalists", "1", "--seeds", "2"),
)

scored: list[int] = []
"""Numbers of the trials that were scored in this process."""


class Weighing(Scorecard):
    """Scores a trial by its weights, and tells which."""

    unit = "weights"

    def outcomes(self, problem: Any, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        scored.append(trial.number)
        assert problem.digest == "digest of nothing"
        error = model["weight"].abs().sum().item()
        return Outcomes(np.array([error, 0.0]), np.array([1.0, 1.0]), {"of": np.array([7])})


class Refusing(Weighing):
    """Cannot score one of them."""

    def outcomes(self, problem: Any, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        if trial.number == 0:
            raise InputError("planted: the weights do not fit")
        return super().outcomes(problem, trial, model)


class Negative(Weighing):
    """Gives errors that are none."""

    def outcomes(self, problem: Any, trial: Trial, model: Mapping[str, Any]) -> Outcomes:
        made = super().outcomes(problem, trial, model)
        return Outcomes(-1 - made.errors, made.reference)


def ask(folder: Path, scorecard: Scorecard | None, *more: str) -> int:
    """Runs the command of the study s in a folder."""
    scored.clear()
    study = replace(FAKE, scorecard=scorecard)
    where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]
    return main(study, [*where, "--name", "s", *ASKED, *more])


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_drawn() -> Iterator[None]:
    """That takes most of the time, and is what the tests of the analyses are for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conclude._Conclusion, "_show", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the study has been run once: to be read and copied only."""
    folder = tmp_path_factory.mktemp("asked")
    assert ask(folder, Weighing()) == 0
    (folder / "scored").write_text(" ".join(map(str, scored)))
    return folder


@pytest.fixture
def again(asked: Path, tmp_path: Path) -> Path:
    """A copy of it, whose command is to be run again."""
    copied_runs(asked / "runs", tmp_path / "runs")
    return tmp_path


def first_scored(asked: Path) -> list[int]:
    return list(map(int, (asked / "scored").read_text().split()))


def in_log(folder: Path) -> list[Scored]:
    events = FileLog(log_file(folder)).read()
    return [event for event in events if isinstance(event, Scored)]


def study_in(folder: Path) -> RecordedStudy:
    return replace(known(folder / "runs", "s"), define=lambda: FAKE)


def outcomes_file(folder: Path, number: int) -> Path:
    """Where MLflow keeps the outcomes of a trial."""
    uri = str(runs_in_mlflow(folder)[number].info.artifact_uri)
    return Path(uri.removeprefix("file://")) / FILE


def checkpoints(folder: Path, number: int) -> list[Path]:
    return sorted((folder / "runs" / "s" / "trials").glob(f"*/{trial_folder(number)}"))


def weight_of(folder: Path, number: int) -> float:
    weights = kept_weights.weights(study_in(folder), trial_of(folder, number))
    assert weights is not None
    return weights["model"]["weight"].abs().sum().item()


def trial_of(folder: Path, number: int) -> Trial:
    return next(trial for trial in study_in(folder).every if trial.number == number)


def test_what_analyses_look_at_is_scored_and_nothing_else(asked: Path) -> None:
    study = study_in(asked)
    best = [study.best(trials) for trials in study.groups.values()]
    baselines = [trial for trial in study.trials if trial.is_baseline]
    looked_at = {trial.number for trial in (*best, *baselines, *study.finals) if trial}
    assert first_scored(asked) == sorted(looked_at)
    assert len(looked_at) < len(study.every)
    assert len(study.finals) == 4
    for trial in study.every:
        assert (study.artifacts.outcomes(trial) is not None) == (trial.number in looked_at)


def test_a_score_is_logged_as_it_is_kept(asked: Path) -> None:
    artifacts = study_in(asked).artifacts
    events = in_log(asked)
    assert [event.number for event in events] == first_scored(asked)
    for event in events:
        outcomes = artifacts.outcomes(trial_of(asked, event.number))
        assert outcomes is not None
        assert outcomes.more["of"].tolist() == [7]
        weight = weight_of(asked, event.number)
        assert outcomes.errors.tolist() == [weight, 0.0]
        assert event.scores == {keep.SCORE: outcomes.score} == {keep.SCORE: 1 - weight / 2}
        assert event.outcomes == FILE
    assert state_in_log(asked).scores == {event.number: event for event in events}


def test_the_same_command_scores_nothing_again(asked: Path, again: Path) -> None:
    files = {number: outcomes_file(again, number) for number in first_scored(asked)}
    before = {number: file.stat().st_mtime_ns for number, file in files.items()}
    assert ask(again, Weighing()) == 0
    assert scored == []
    assert in_log(again) == in_log(asked)
    assert {number: file.stat().st_mtime_ns for number, file in files.items()} == before


def test_more_trials_are_scored_beside_those_that_were(asked: Path, again: Path) -> None:
    assert ask(again, Weighing(), "--seeds", "3", "--finals", "all") == 0
    finals = {trial.number for trial in study_in(again).finals}
    assert set(scored) == finals - set(first_scored(asked))
    assert len(scored) == 2
    assert [event.number for event in in_log(again)] == [*first_scored(asked), *scored]


@pytest.mark.parametrize("how", ["lost", "damaged", "another"])
def test_outcomes_that_cannot_be_read_are_made_again(
    asked: Path, again: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not logged again, as they are what was."""
    number = first_scored(asked)[1]
    file = outcomes_file(again, number)
    whole = file.read_bytes()
    if how == "lost":
        file.unlink()
    else:
        file.write_bytes(whole[:-40] if how == "damaged" else b"something else")
    assert ask(again, Weighing()) == 0
    assert scored == [number]
    made, first = (
        study_in(folder).artifacts.outcomes(trial_of(folder, number)) for folder in (again, asked)
    )
    assert made is not None and first is not None
    assert made.errors.tolist() == first.errors.tolist()
    assert made.more["of"].tolist() == [7]
    assert in_log(again) == in_log(asked)
    said = capsys.readouterr().out
    assert "scoring 1 trial on the test split" in said
    told = f"trial {number} of s: outcomes.npz is no file of outcomes, or damaged"
    assert (told in said) == (how != "lost")


def test_a_checkpoint_that_is_gone_leaves_its_trial_unscored(
    asked: Path, again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number, other = first_scored(asked)[:2]
    for each in (number, other):
        outcomes_file(again, each).unlink()
    (folder,) = checkpoints(again, number)
    shutil.rmtree(folder)
    assert ask(again, Weighing()) == 0
    assert scored == [other]
    said = capsys.readouterr().out
    assert f"trial {number}: its checkpoint is gone" in said
    study = study_in(again)
    assert study.artifacts.outcomes(trial_of(again, number)) is None


def test_outcomes_outlive_the_checkpoint_that_they_are_of(asked: Path, again: Path) -> None:
    number = first_scored(asked)[0]
    (folder,) = checkpoints(again, number)
    shutil.rmtree(folder)
    assert ask(again, Weighing()) == 0
    assert scored == []
    assert study_in(again).artifacts.outcomes(trial_of(again, number)) is not None


def test_a_checkpoint_before_the_last_epoch_is_not_scored(
    asked: Path, again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = first_scored(asked)[0]
    outcomes_file(again, number).unlink()
    (file,) = checkpoints(again, number)[0].rglob(checkpoint.FILE)
    state = checkpoint.load(file.parent)
    checkpoint.save(file.parent, {**state, "epoch": 1})
    assert ask(again, Weighing()) == 0
    assert scored == []
    said = capsys.readouterr().out
    assert f"trial {number} was not scored: the checkpoint of its last epoch is gone" in said
    assert study_in(again).artifacts.outcomes(trial_of(again, number)) is None


def test_what_the_scorecard_refuses_is_said_and_the_others_are_scored(
    tmp_path: Path, asked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tmp_path, Refusing()) == 0
    assert scored == first_scored(asked)[1:]
    assert 0 not in state_in_log(tmp_path).scores
    said = capsys.readouterr().out
    assert "trial 0 was not scored: planted: the weights do not fit" in said
    assert ask(tmp_path, Weighing()) == 0
    assert scored == [0], "the command of the mended version scores what is left"
    assert sorted(state_in_log(tmp_path).scores) == first_scored(asked)


def test_errors_that_are_none_are_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tmp_path, Negative()) == 0
    assert scored
    assert in_log(tmp_path) == []
    said = capsys.readouterr().out
    assert said.count("was not scored: expected errors from 0 on") == len(scored)


def test_a_study_without_a_scorecard_ends_unscored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tmp_path, None) == 0
    assert in_log(tmp_path) == []
    assert "scoring" not in capsys.readouterr().out
    assert all(study_in(tmp_path).artifacts.outcomes(t) is None for t in study_in(tmp_path).every)


OWNERS = {"keep_outcomes": Artifacts, "Scored": keep}


def die_in_second(name: str, folder: Path) -> None:
    """Runs the command, and dies when a function is called for the second time."""
    owner = OWNERS[name]
    real, calls = getattr(owner, name), 0

    def trapped(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return dies() if calls == 2 else real(*arguments)

    setattr(owner, name, trapped)
    ask(folder, Weighing())


@pytest.mark.parametrize(
    ("name", "kept", "logged"),
    [("keep_outcomes", 1, 1), ("Scored", 2, 1)],
    ids=["before a file is kept", "between the file and the log"],
)
def test_a_command_that_was_killed_while_it_scored_goes_on(
    name: str, kept: int, logged: int, asked: Path, tmp_path: Path
) -> None:
    assert killed_in(die_in_second, name, tmp_path)
    study = study_in(tmp_path)
    there = [t.number for t in study.every if study.artifacts.outcomes(t) is not None]
    assert (len(there), len(in_log(tmp_path))) == (kept, logged)
    assert ask(tmp_path, Weighing()) == 0
    assert scored == [number for number in first_scored(asked) if number not in there]
    events = in_log(tmp_path)
    assert sorted(event.number for event in events) == first_scored(asked)
    assert {e.number: e.scores for e in events} == {e.number: e.scores for e in in_log(asked)}


def test_trials_that_were_deleted_are_not_scored(asked: Path, again: Path) -> None:
    number = study_in(again).finals[0].number
    outcomes_file(again, number).unlink()
    artifacts = study_in(again).artifacts
    artifacts.store.client.delete_run(artifacts.run_id(trial_of(again, number)))
    assert ask(again, Weighing()) == 0
    assert number not in scored
    assert [event.number for event in in_log(again)][: len(in_log(asked))] == first_scored(asked)


# What tells that a model of molecules is still the one that was recorded


@pytest.fixture
def of_molecules(trained: Path, tmp_path: Path) -> Path:
    """A copy of the runs of a study of molecules."""
    return copied_runs(trained, tmp_path / "runs")


def best_of(study: RecordedStudy) -> Trial:
    best = study.best(study.trials)
    assert best is not None
    return best


def forgotten(runs: Path, trial: Trial) -> Path:
    """Has a trial lose its outcomes; returns the folder of its checkpoint."""
    artifacts = known(runs).artifacts
    uri = str(artifacts.store.client.get_run(artifacts.run_id(trial)).info.artifact_uri)
    (Path(uri.removeprefix("file://")) / FILE).unlink()
    (file,) = (runs / MOLECULES / "trials").glob(
        f"*/{trial_folder(trial.number)}/*/{checkpoint.FILE}"
    )
    return file.parent


def test_the_command_scores_a_model_of_molecules_as_it_was(
    of_molecules: Path, cache: Path
) -> None:
    study = known(of_molecules)
    trial = best_of(study)
    first = study.artifacts.outcomes(trial)
    assert first is not None
    forgotten(of_molecules, trial)
    assert main(gnn_sweep.STUDY, command(MOLECULES, of_molecules, cache)) == 0
    made = known(of_molecules).artifacts.outcomes(trial)
    assert made is not None
    for name, array in first.more.items():
        assert made.more[name].tolist() == array.tolist()
    assert made.errors.tolist() == first.errors.tolist()


def test_a_model_that_errs_otherwise_than_recorded_is_not_scored_and_that_is_said(
    of_molecules: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = known(of_molecules)
    trial = best_of(study)
    folder = forgotten(of_molecules, trial)
    state = checkpoint.load(folder)
    for tensor in state["model"].values():
        if tensor.is_floating_point():
            tensor.mul_(3)
    checkpoint.save(folder, state)
    assert main(gnn_sweep.STUDY, command(MOLECULES, of_molecules, cache)) == 0
    said = capsys.readouterr().out
    told = f"trial {trial.number} was not scored: the weights of trial {trial.number} give a"
    assert f"{told} validation/mse of " in said
    assert known(of_molecules).artifacts.outcomes(trial) is None


@pytest.mark.parametrize(
    ("part", "key"), [("config", "retired"), ("model", "retired.weight")], ids=["field", "layer"]
)
def test_a_model_of_another_version_is_refused(
    part: str, key: str, trained: Path, molecules: MoleculeSet
) -> None:
    study = known(trained)
    trial = best_of(study)
    weights = kept_weights.weights(study, trial)
    assert weights is not None
    config, model = dict(trial.config), dict(weights["model"])
    {"config": config, "model": model}[part][key] = torch.zeros(1)
    with pytest.raises(InputError, match=rf"weights of trial {trial.number} do not fit"):
        MoleculeScorecard().outcomes(
            MoleculeProblem(molecules), replace(trial, config=config), model
        )


def numbers(events: Sequence[Scored]) -> list[int]:
    return [event.number for event in events]


def test_real_studies_are_scored_and_logged(trained: Path) -> None:
    for name in ("molecules", "drives"):
        study = known(trained, name)
        events = FileLog(trained / name / "log.jsonl").read()
        logged = [event for event in events if isinstance(event, Scored)]
        kept = [t.number for t in study.every if study.artifacts.outcomes(t) is not None]
        assert sorted(numbers(logged)) == kept
        for event in logged:
            (trial,) = (t for t in study.every if t.number == event.number)
            outcomes = study.artifacts.outcomes(trial)
            assert outcomes is not None
            assert event.scores == {keep.SCORE: outcomes.score}
