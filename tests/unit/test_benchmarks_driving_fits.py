"""Fits of world models, as rows of a table."""

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moving_stripes import stripes
from recorded_study import study_of, trial

from analysis.rollout_scores import PICTURES, RolloutScores, dream
from benchmarks import driving_fits
from benchmarks.driving_fits import best_of, planned
from benchmarks.driving_results import scores, table
from benchmarks.fits import Fit
from datasets.driving import DrivingOptions, open_drives
from datasets.errors import InputError
from datasets.recordings import write_recordings
from record.trial import Trial
from trainables.driving import DrivingTask
from trainables.fit import fit
from trainables.models.world_model import WorldModelConfig, homework

TINY = WorldModelConfig(hidden=16, sequence_length=8, free_steps=2, epochs=1)
CPU = torch.device("cpu")


def test_a_fit_becomes_a_row_with_the_scores_of_its_last_epoch(tmp_path: Path) -> None:
    path = tmp_path / "drives.arrow"
    write_recordings(stripes(20, 30), path)
    data = open_drives(DrivingOptions(recordings=str(path)), driving_fits.SPLIT_SEED, tmp_path)
    job = Fit("toy", f"random of {data.digest}", TINY)
    row = driving_fits.run(job, str(path), tmp_path, threads=1)
    (epoch,) = fit(DrivingTask(data, TINY, CPU), TINY, CPU)
    found = asdict(row)
    for name, value in scores(dream(epoch.model, data)).items():
        assert found[name] == pytest.approx(value, rel=1e-4, nan_ok=True), name
    assert (row.experiment, row.decoder, row.seed, row.device) == ("toy", "warp", 0, "cpu")
    assert row.configuration == TINY and row.key == job.key
    rows = table(tmp_path / "table.csv")
    rows.write([row])
    (read,) = rows.read()
    np.testing.assert_equal(asdict(read), asdict(row))


def test_scores_are_shares_of_the_baselines() -> None:
    """Two episodes of 150 horizons; the model is a half of freeze up to 100, and then twice."""
    error = {
        "teacher_forced": np.full((2, 150), 0.25),
        "persistence": np.full((2, 150), 1.0),
        "freeze": np.full((2, 150), 4.0),
        "climatology": np.full((2, 150), 3.0),
        "autoregressive": np.where(np.arange(150) < 100, 2.0, 8.0) * np.ones((2, 1)),
    }
    mse = np.stack([error[name] for name in PICTURES])
    picture = np.zeros((150, 3, 2, 2), np.uint8)
    found = scores(RolloutScores(mse, np.ones_like(mse), picture, picture, picture))
    assert (found["one_step"], found["one_step_mse"]) == (0.25, 0.25)
    shares = [found[f"free_{horizon}"] for horizon in (1, 10, 30, 50, 100, 149)]
    assert shares == [0.5, 0.5, 0.5, 0.5, 0.5, 2.0]
    assert found["free_mean"] == pytest.approx((100 * 2 + 49 * 8) / 149 / 4, rel=1e-4)
    expected = (100 * 2 + 49 * 8) / 149 / 3
    assert found["free_mean_of_climatology"] == pytest.approx(expected, rel=1e-4)
    assert found["below_both"] == 100
    assert found["ssim"] == 1


def test_a_horizon_beyond_the_episodes_has_no_score() -> None:
    mse, picture = np.ones((len(PICTURES), 2, 40)), np.zeros((40, 3, 2, 2), np.uint8)
    found = scores(RolloutScores(mse, mse, picture, picture, picture))
    assert (found["free_30"], found["free_mean"]) == (1, 1)
    assert np.isnan([found["free_50"], found["free_100"], found["free_149"]]).all()


@pytest.mark.parametrize("experiment", ["presets", "loop", "one-step", "both", "ablations"])
def test_fits_use_seeds_that_the_search_did_not_and_differ(experiment: str) -> None:
    jobs = planned(argparse.Namespace(experiment=experiment, seeds=2, study=None), "digest")
    assert {job.config.seed for job in jobs} == {1, 2}
    assert len({job.key for job in jobs}) == len(jobs)


PARAMS: dict[str, Any] = {
    "study": "world-model",
    "seed": 0,
    "data.split": "random",
    "data.digest": "digest",
    "objective": "validation/skill",
    "group_by": "core",
}
"""Of a study whose choice may be tested here."""


def finished(number: int, config: WorldModelConfig, value: float) -> Trial:
    return trial(number, config, value, metric="validation/skill")


def test_the_best_configuration_is_read_back_as_it_was() -> None:
    best = replace(TINY, learning_rate=1.25e-3, noise=0.03, core="scratch")
    trials = (finished(0, TINY, 0.4), finished(1, best, 0.6))
    assert best_of(study_of(trials, **PARAMS), "digest") == best
    with pytest.raises(InputError, match="no trial of s finished"):
        best_of(study_of((), status="FAILED", **PARAMS), "digest")


@pytest.mark.parametrize(
    ("name", "value"),
    [("study", "gnn"), ("seed", 3), ("data.split", "random:40,12,12"), ("data.digest", "other")],
)
def test_a_study_that_may_have_seen_the_test_episodes_is_refused(name: str, value: Any) -> None:
    study = study_of((finished(0, TINY, 0.4),), **PARAMS | {name: value})
    with pytest.raises(InputError, match=f"s has {name} {value}, expected {PARAMS[name]}"):
        best_of(study, "digest")


def test_the_homework_s_own_loop_becomes_a_row(tmp_path: Path) -> None:
    path = tmp_path / "drives.arrow"
    write_recordings(stripes(20, 30), path)
    config = WorldModelConfig(**homework("builtin") | {"hidden": 8, "epochs": 1})  # pyright: ignore[reportArgumentType]
    loop, preset = (
        driving_fits.run(Fit(name, "random", config), str(path), tmp_path, threads=1)
        for name in ("loop", "presets")
    )
    assert loop.parameters == preset.parameters
    # Ten steps of the optimiser in place of one.
    assert loop.one_step < preset.one_step


def test_the_best_of_no_study_is_asked_for_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recordings(stripes(20, 30), tmp_path / "drives.arrow")
    typed = ["best", "--recordings", str(tmp_path / "drives.arrow")]
    assert driving_fits.main(typed) == 2
    assert capsys.readouterr().err == "error: best needs --study NAME: whose best configuration?\n"
