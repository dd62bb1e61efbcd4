"""What a row of docs/results/driving.csv is made of."""

from pathlib import Path

import numpy as np
import pytest

from analysis.rollout_scores import PICTURES, RolloutScores
from benchmarks.driving_results import TABLE, parameters, scores

PIXELS = {"64": 64}
"""Experiment -> pixels on a side of its frames, where they are not 32."""


def test_the_file_of_the_rows_is_as_it_is_written(tmp_path: Path) -> None:
    TABLE.write(reversed(TABLE.read()), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == TABLE.file.read_bytes()


def test_the_weights_of_a_configuration_are_counted_as_those_that_were_trained() -> None:
    for row in TABLE.read():
        assert parameters(row.configuration, PIXELS.get(row.experiment, 32)) == row.parameters


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
