"""Fits of world models, as rows of a table."""

import argparse
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from moving_stripes import stripes

from analysis.dreams import PICTURES, Dreams, dream
from analysis.runs import StudyRuns, TrialRun
from benchmarks import driving_fits
from benchmarks.driving_fits import best_of, planned
from benchmarks.driving_results import scores, table
from benchmarks.fits import Fit
from datasets.driving import DrivingOptions, open_drives
from datasets.errors import InputError
from datasets.recordings import write_recordings
from trainables.driving import DrivingTask
from trainables.fit import fit
from trainables.models.world_model import WorldModelConfig

TINY = WorldModelConfig(hidden=16, sequence_length=8, free_steps=2, epochs=1)
CPU = torch.device("cpu")


def test_a_fit_becomes_a_row_with_the_scores_of_its_last_epoch(tmp_path: Path) -> None:
    path = tmp_path / "drives.arrow"
    write_recordings(stripes(20, 30), path)
    job = Fit("toy", "random", TINY)
    row = driving_fits.run(job, str(path), tmp_path, threads=1)
    data = open_drives(DrivingOptions(recordings=str(path)), driving_fits.SPLIT_SEED, tmp_path)
    (epoch,) = fit(DrivingTask(data, TINY, CPU), TINY, CPU)
    found = asdict(row)
    for name, value in scores(dream(epoch.model, data)).items():
        assert found[name] == pytest.approx(value, rel=1e-4), name
    assert (row.experiment, row.decoder, row.seed, row.device) == ("toy", "warp", 0, "cpu")
    assert row.configuration == TINY and row.key == job.key
    rows = table(tmp_path / "table.csv")
    rows.write([row])
    assert rows.read() == [row]


def test_scores_are_shares_of_the_baselines() -> None:
    """Two episodes of 150 horizons; the model is a half of freeze up to 100, and then twice."""
    error = {
        "teacher_forced": np.full((2, 150), 0.25),
        "persistence": np.full((2, 150), 1.0),
        "freeze": np.full((2, 150), 4.0),
        "climatology": np.full((2, 150), 3.0),
        "autoregressive": np.where(np.arange(150) < 100, 2.0, 8.0) * np.ones((2, 1)),
    }
    picture = np.zeros((150, 3, 2, 2), np.uint8)
    mse = np.stack([error[name] for name in PICTURES])
    found = scores(Dreams(mse, np.ones_like(mse), picture, picture, picture))
    assert (found["one_step"], found["one_step_mse"]) == (0.25, 0.25)
    shares = [found[f"free_{horizon}"] for horizon in (1, 10, 30, 50, 100, 149)]
    assert shares == [0.5, 0.5, 0.5, 0.5, 0.5, 2.0]
    assert found["free_mean"] == pytest.approx((100 * 2 + 49 * 8) / 149 / 4, rel=1e-4)
    expected = (100 * 2 + 49 * 8) / 149 / 3
    assert found["free_mean_of_climatology"] == pytest.approx(expected, rel=1e-4)
    assert found["below_both"] == 100
    assert found["ssim"] == 1


@pytest.mark.parametrize("experiment", ["presets", "one-step", "both", "ablations"])
def test_fits_use_seeds_that_the_search_did_not_and_differ(experiment: str) -> None:
    jobs = planned(argparse.Namespace(experiment=experiment, seeds=2, study=None))
    assert {job.config.seed for job in jobs} == {1, 2}
    assert len({job.key for job in jobs}) == len(jobs)


def trial(number: int, config: WorldModelConfig, value: float) -> TrialRun:
    return TrialRun(
        number=number,
        name="",
        run_id=str(number),
        state="finished",
        baseline=False,
        params={name: str(value) for name, value in asdict(config).items()},
        metrics={"validation/skill": value},
        started=datetime.now(UTC),
        ended=None,
    )


def test_the_best_configuration_is_read_back_as_it_was() -> None:
    best = replace(TINY, learning_rate=1.25e-3, noise=0.03, core="scratch")
    params = {"objective": "validation/skill", "by": "core"}
    trials = (trial(0, TINY, 0.4), trial(1, best, 0.6))
    assert best_of(StudyRuns("s", "0", "FINISHED", params, {}, trials)) == best
    with pytest.raises(InputError, match="no trial of s finished"):
        best_of(StudyRuns("s", "0", "FAILED", params, {}, ()))


def test_the_best_of_no_study_is_asked_for_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recordings(stripes(20, 30), tmp_path / "drives.arrow")
    typed = ["best", "--recordings", str(tmp_path / "drives.arrow")]
    assert driving_fits.main(typed) == 2
    assert capsys.readouterr().err == "error: best needs --study NAME: whose best configuration?\n"
