"""Scores and their bootstrap intervals."""

import numpy as np
import pytest
import torch

from analysis import scores
from analysis.scores import bootstrap
from datasets.errors import InputError
from trainables import metrics


def invented(molecules: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predictions that err by 0.5 D on average, and targets with a variance of 4 D²."""
    generator = np.random.default_rng(seed)
    target = 3 + 2 * generator.standard_normal(molecules)
    return target + generator.normal(0, 0.5 * np.sqrt(np.pi / 2), molecules), target


def test_scores_are_those_that_the_trials_report() -> None:
    prediction, target = invented(50)
    made = bootstrap(prediction, target, resamples=10)
    as_tensors = torch.from_numpy(prediction), torch.from_numpy(target)
    assert made.r2.value == pytest.approx(metrics.r2(*as_tensors), rel=1e-12)
    assert made.mse.value == pytest.approx(metrics.mse(*as_tensors), rel=1e-12)
    assert made.mae.value == pytest.approx(metrics.mae(*as_tensors), rel=1e-12)


@pytest.mark.parametrize("molecules", [5, 50, 500])
def test_intervals_contain_their_score(molecules: int) -> None:
    made = bootstrap(*invented(molecules))
    for score in (made.r2, made.mse, made.mae):
        assert score.low < score.value < score.high


def test_intervals_narrow_with_the_root_of_the_number_of_molecules() -> None:
    wide, narrow = bootstrap(*invented(200)), bootstrap(*invented(20_000))
    for name in ("r2", "mse", "mae"):
        few, many = getattr(wide, name), getattr(narrow, name)
        ratio = (few.high - few.low) / (many.high - many.low)
        assert 7 < ratio < 14  # 10, but for the luck of the 200


def test_an_interval_of_the_mean_error_is_about_two_standard_errors_each_way() -> None:
    prediction, target = invented(1000)
    error = np.abs(prediction - target)
    made = bootstrap(prediction, target).mae
    standard_error = error.std() / np.sqrt(len(error))
    assert (made.high - made.low) / 2 == pytest.approx(1.96 * standard_error, rel=0.1)


def test_intervals_cover_the_true_error_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(200):
        mae = bootstrap(*invented(100, seed), resamples=200).mae
        covered += mae.low <= 0.5 <= mae.high
    # 95 % of 200 are 190, give or take 3; percentile intervals are known to be a little short.
    assert 180 <= covered <= 199


def test_equal_seeds_give_equal_intervals() -> None:
    sample = invented(40)
    assert bootstrap(*sample, seed=1) == bootstrap(*sample, seed=1)
    assert bootstrap(*sample, seed=1) != bootstrap(*sample, seed=2)


def test_drawing_in_chunks_changes_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = invented(40)
    at_once = bootstrap(*sample, resamples=100)
    monkeypatch.setattr(scores, "CHUNK", 3 * 40)
    assert bootstrap(*sample, resamples=100) == at_once


def test_resamples_of_one_molecule_alone_do_not_count_for_r2() -> None:
    # A quarter of the resamples of three molecules have one target only, or nearly.
    made = bootstrap(np.array([0.1, 1.2, 1.9]), np.array([0.0, 1.0, 2.0]))
    assert np.isfinite([made.r2.low, made.r2.high]).all()


@pytest.mark.parametrize("molecules", [0, 1, 3])
def test_r2_of_equal_targets_is_refused(molecules: int) -> None:
    with pytest.raises(InputError, match=f"undefined on {molecules} test molecules without two"):
        bootstrap(np.arange(molecules, dtype=float), np.full(molecules, 0.1))
