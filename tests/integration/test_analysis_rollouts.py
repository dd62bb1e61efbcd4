"""Rollouts of a study of two epochs: what is tabulated, drawn and kept."""

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from moving_stripes import striped_drives, stripes
from PIL import Image
from trained_studies import DRIVES, FRAMES, MOLECULES, command, known, recordings

from analysis import cards, driving_scorecard, film, loss_curves, opening, rollout_scores, rollouts
from analysis.curves import last_metrics
from analysis.rollout_scores import PICTURES, RolloutScores, dream
from datasets.driving import Drives, DrivingOptions, open_drives
from datasets.errors import InputError
from datasets.recordings import write_recordings
from engine.main import main
from record import outcomes
from record.artifacts import Artifacts
from record.folder import StudyFolder
from record.known_log import known_state
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial
from studies import world_model_sweep
from trainables.driving import judged_horizon
from trainables.rollout import CONTEXT


def shown(study: RecordedStudy, folder: Path) -> Path:
    """Writes the card of a study's rollouts into a folder, which it returns."""
    cards.published([rollouts.make(study)], study, folder)
    return folder


@pytest.fixture(scope="module")
def report(trained_copy: Path) -> Path:
    return shown(known(trained_copy, DRIVES), trained_copy / "report")


def rolled_out(runs: Path) -> list[Trial]:
    """The best trial, the baselines and the finals."""
    study = known(runs, DRIVES)
    baselines = [trial for trial in study.trials if trial.is_baseline]
    return [study.best_or_refuse(), *baselines, *study.finals]


def made(runs: Path) -> RolloutScores:
    """The rollouts of the best trial, as they are kept."""
    study = known(runs, DRIVES)
    best = study.best(study.trials)
    assert best is not None
    kept = rollout_scores.of_trial(study, best)
    assert kept is not None
    return kept


def test_the_best_trial_and_the_homework_with_each_core_are_tabulated(report: Path) -> None:
    table = pd.read_csv(report / "rollouts.csv")
    roles = table["role"].unique().tolist()
    assert roles[0].startswith("best, trial ")
    assert {*roles[1:]} == {
        *("baseline, torch.nn.LSTM", "baseline, LSTM from scratch", "baseline, transformer")
    }
    assert table["prediction"].unique().tolist() == list(PICTURES)
    assert max(table["horizon"]) == FRAMES - CONTEXT
    assert len(table) == len(roles) * len(PICTURES) * (FRAMES - CONTEXT)
    text = (report / "rollouts.md").read_text()
    assert all(role in text for role in roles)
    assert "2 test episodes" in text


def test_the_numbers_are_those_of_the_rollouts(report: Path, trained_copy: Path) -> None:
    kept = made(trained_copy)
    table = pd.read_csv(report / "rollouts.csv")
    best = table[table["role"].str.startswith("best")]
    for picture in PICTURES:
        rows = best[best["prediction"] == picture]
        error = kept.error(picture)
        np.testing.assert_allclose(rows["mse (squared pixel values)"], error.mean(axis=0))
        np.testing.assert_allclose(rows["psnr (dB)"], (-10 * np.log10(error)).mean(axis=0))
        np.testing.assert_allclose(rows["lowest mse of an episode"], error.min(axis=0))
        np.testing.assert_allclose(rows["highest mse of an episode"], error.max(axis=0))
    header, _, first, *_ = (report / "rollouts.md").read_text().splitlines()
    names, cells = ([cell.strip() for cell in line.split("|")] for line in (header, first))
    told = dict(zip(names, cells, strict=True))
    free, forced = kept.error("autoregressive").mean(), kept.error("teacher_forced").mean()
    assert told[f"mean 1 to {FRAMES - CONTEXT}"] == f"{free / kept.error('freeze').mean():.2f}"
    assert told["of climatology"] == f"{free / kept.error('climatology').mean():.2f}"
    assert told["of persistence"] == f"{forced / kept.error('persistence').mean():.3f}"


def test_the_baselines_are_measured_on_the_test_episodes(trained_copy: Path, cache: Path) -> None:
    data = open_drives(DrivingOptions(recordings=str(recordings(trained_copy))), 0, cache)
    frames = data.recordings.frames.reshape(20, FRAMES, 3, 32, 32) / 255
    test, train = frames[data.split.test], frames[data.split.train]
    truth = test[:, CONTEXT:]
    kept = made(trained_copy)
    for name, picture in (
        ("persistence", test[:, CONTEXT - 1 : -1]),
        ("freeze", test[:, CONTEXT - 1 : CONTEXT]),
        ("climatology", train.mean(axis=(0, 1))),
    ):
        expected = np.square(picture - truth).mean(axis=(2, 3, 4))
        np.testing.assert_allclose(kept.error(name), expected, rtol=1e-4)
    np.testing.assert_array_equal(kept.truth, (truth[0] * 255).round())


def test_the_test_episodes_are_rolled_out_once(
    report: Path,
    trained_copy: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the end of the study. Afterwards neither the drives nor a model are looked at, whether
    it is analysed or its command repeated, and all is the same."""

    def never(*arguments: Any) -> Any:
        raise AssertionError("rolled out again")

    before = known_state(StudyFolder(trained_copy, DRIVES)).scores
    assert {trial.number for trial in rolled_out(trained_copy)} <= before.keys()
    for module, name in ((rollout_scores, "dream"), (driving_scorecard, "dream")):
        monkeypatch.setattr(module, name, never)
    asked = command(DRIVES, trained_copy, cache)
    original = known(trained_copy, DRIVES).params["data.recordings"]
    asked[asked.index(str(recordings(trained_copy)))] = original
    assert main(world_model_sweep.STUDY, asked) == 0
    assert known_state(StudyFolder(trained_copy, DRIVES)).scores == before
    monkeypatch.setattr(opening, "problem_of", never)
    shown(known(trained_copy, DRIVES), tmp_path / "report")
    for path in sorted(report.iterdir()):
        assert (tmp_path / "report" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_files_are_published_with_the_parent_run(
    report: Path, trained_copy: Path, tmp_path: Path
) -> None:
    artifacts = known(trained_copy, DRIVES).artifacts
    for path in sorted(report.iterdir()):
        fetched = artifacts.fetch(None, f"report/{path.name}", tmp_path)
        assert fetched is not None and fetched.read_bytes() == path.read_bytes()


def test_the_figures_show_something(report: Path) -> None:
    for name in ("film_strip.png", "error_against_horizon.png", "two_aims.png"):
        picture = np.asarray(Image.open(report / name).convert("RGB"))
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100, name


def test_the_animation_plays_every_horizon_side_by_side(report: Path, trained_copy: Path) -> None:
    """The truth's pixels are enlarged as they are: each is a square of one colour, but for the
    256 colours of a GIF."""
    kept = made(trained_copy)
    side = film.SIDE
    with Image.open(report / "rollouts.gif") as animation:
        assert getattr(animation, "n_frames", 1) == FRAMES - CONTEXT
        assert animation.size[0] == 5 * side
        for step in (0, 20):
            animation.seek(step)
            played = np.asarray(animation.convert("RGB"))[-side:, :side]
            pixels = played.reshape(32, 6, 32, 6, 3)
            middle = pixels[:, 3, :, 3].transpose(2, 0, 1).astype(int)
            assert np.abs(middle - kept.truth[step]).mean() < 12
            assert (pixels == pixels[:, :1, :, :1]).mean() > 0.7


def test_a_perfect_model_has_no_error_and_a_similarity_of_one(tmp_path: Path) -> None:
    """It looks the frames up: after the context, and from its own predictions."""
    write_recordings(stripes(20, FRAMES), tmp_path / "drives.arrow")
    data = open_drives(DrivingOptions(recordings=str(tmp_path / "drives.arrow")), 0, tmp_path)

    class Knows(torch.nn.Module):
        def forward(self, frames: Any, actions: Any, state: Any = None, age: Any = None) -> Any:
            at = 0 if state is None else state
            episodes = data.recordings.frames.reshape(20, FRAMES, 3, 32, 32)[data.split.test]
            steps = slice(at + 1, at + 1 + frames.shape[1])
            return torch.from_numpy(episodes[:, steps]).float() / 255, at + frames.shape[1]

    found = dream(Knows(), data)
    for way in ("teacher_forced", "autoregressive"):
        assert found.error(way).max() == 0
        np.testing.assert_allclose(found.ssim[PICTURES.index(way)], 1, atol=1e-5)
        np.testing.assert_array_equal(getattr(found, way), found.truth)


class Frozen(torch.nn.Module):
    """Predicts the frame that it sees."""

    def forward(self, frames: Any, actions: Any, state: Any = None, age: Any = None) -> Any:
        return frames, state


def shortened(episodes: list[int], length: int) -> Drives:
    """Striped drives of which some have been cut to so many frames."""
    data = striped_drives(15)
    drives = data.recordings
    lengths = drives.lengths.copy()
    kept = np.ones(len(drives.frames), bool)
    for episode in episodes:
        kept[drives.offsets[episode] + length : drives.offsets[episode + 1]] = False
        lengths[episode] = length
    columns = {
        name: getattr(drives, name)[kept] for name in ("frames", "actions", "rewards", "ends")
    }
    return replace(data, recordings=replace(drives, **columns, offsets=np.r_[0, lengths.cumsum()]))


def test_test_episodes_that_are_shorter_than_the_rollouts_of_the_validation_are_left_out() -> None:
    test = [*map(int, striped_drives(15).split.test)]
    data = shortened(test[:1], 20)
    found = dream(Frozen(), data)
    assert found.mse.shape == (len(PICTURES), len(test) - 1, judged_horizon(data))
    np.testing.assert_allclose(found.error("autoregressive"), found.error("freeze"))


def test_test_episodes_that_are_all_shorter_than_the_others_are_judged_as_far_as_they_go() -> None:
    test = [*map(int, striped_drives(15).split.test)]
    data = shortened(test, 20)
    assert judged_horizon(data) == 10
    assert dream(Frozen(), data).mse.shape == (len(PICTURES), len(test), 10)


def test_rollouts_that_would_fill_the_memory_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays: dict[str, Any] = {field.name: np.zeros((5, 2, 3)) for field in fields(RolloutScores)}
    Outcomes(np.ones(2), np.ones(2), arrays).write(tmp_path / outcomes.FILE)
    monkeypatch.setattr(Artifacts, "fetch", lambda *_: tmp_path / outcomes.FILE)
    trial = cast(Any, SimpleNamespace(number=3))

    def read() -> RolloutScores | None:
        artifacts = Artifacts("nowhere", "drives")
        return rollout_scores.of_trial(cast(Any, SimpleNamespace(artifacts=artifacts)), trial)

    kept = read()
    assert kept is not None and kept.mse.shape == (5, 2, 3)
    monkeypatch.setattr(outcomes, "LARGEST", 1000)
    with pytest.raises(InputError, match=r"trial 3 of drives: outcomes.npz .* claim 2,"):
        read()


def test_a_share_of_no_error_is_none(recwarn: pytest.WarningsRecorder) -> None:
    """Where no test episode moves at a horizon, freezing is without error there."""
    mse = np.ones((len(PICTURES), 2, 3))
    mse[PICTURES.index("freeze"), :, 0] = 0
    mse[PICTURES.index("persistence")] = 0
    picture = np.zeros((3, 3, 32, 32), np.uint8)
    made = RolloutScores(mse, mse, picture, picture, picture)
    np.testing.assert_array_equal(made.shares("autoregressive", "freeze"), [np.nan, 1, 1])
    assert np.isnan(made.share("teacher_forced", "persistence"))
    assert made.share("autoregressive", "freeze") == 1.5
    assert not recwarn.list


def test_loss_curves_of_each_core_are_drawn_in_squared_pixel_values(
    trained_copy: Path, tmp_path: Path
) -> None:
    study = known(trained_copy, DRIVES)
    cards.published([loss_curves.make(study)], study, tmp_path / "report")
    table = pd.read_csv(tmp_path / "report" / "loss_curves.csv")
    assert {*table["core"]} == {"builtin", "scratch", "transformer"}
    for trial in study.trials:
        rows = table.query("trial == @trial.number and epoch == 2").to_dict("records")
        for last in rows[:1]:
            metrics = last_metrics(trial)
            error = metrics["validation/mse"]
            assert last["validation mse (squared pixel values)"] == pytest.approx(error)
            train = last["train mse (squared pixel values)"]
            assert train == pytest.approx(metrics["train/mse"])
            copying = error / metrics["validation/persistence_ratio"]
            level = last["copying the last frame mse (squared pixel values)"]
            assert level == pytest.approx(copying, rel=1e-6)


def test_other_drives_than_the_study_s_are_refused(trained_copy: Path, tmp_path: Path) -> None:
    write_recordings(stripes(20, FRAMES, seed=1), tmp_path / "other.arrow")
    with pytest.raises(InputError, match="these are not the data of drives: their digest is"):
        opening.opened(known(trained_copy, DRIVES), tmp_path, str(tmp_path / "other.arrow"))


def test_a_best_trial_that_was_not_scored_is_refused(
    trained_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = known(trained_copy, DRIVES)
    number = study.best_or_refuse().number
    monkeypatch.setattr(Artifacts, "outcomes", lambda *_: None)
    with pytest.raises(InputError, match=f"trial {number}, the best of drives, was not scored"):
        rollouts.make(study)


def test_a_study_of_molecules_is_refused(trained_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="molecules is no study of drives: there is nothing to r"):
        shown(known(trained_copy, MOLECULES), tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_the_command_line_draws_into_the_runs_folder(
    trained_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = trained_copy / DRIVES / "report" / "film_strip.png"
    drawn.unlink()
    where = ["--runs-dir", str(trained_copy)]
    assert rollouts.main([DRIVES, *where]) == 0
    assert drawn.is_file()
    assert "one-step MSE" in capsys.readouterr().out
    assert rollouts.main(["nothing", *where]) == 2
    assert "error: no study nothing" in capsys.readouterr().err
