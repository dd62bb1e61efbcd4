"""R², MSE and MAE of predictions, each with its bootstrap interval.

The interval covers the variance from sampling the molecules of the split. It does not cover the
variance over training seeds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from datasets.errors import InputError

RESAMPLES = 2000
"""Number of bootstrap resamples: splits of the same size drawn with replacement."""

SEED = 0
"""Seed of the resamples, fixed so that every trial of a study is scored on the same ones."""

COVERAGE = 0.95
"""Coverage probability of all intervals."""

CHUNK = 1_000_000
"""Largest number of test units drawn at once, which bounds memory to some 50 MB."""


@dataclass(frozen=True)
class Score:
    """A score and its 95 % bootstrap interval, all in the unit of the score."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """The scores of a set of predictions.

    Attributes:
        r2: Coefficient of determination about the targets' own mean, dimensionless.
        mse: Mean squared error, in the target's unit squared.
        mae: Mean absolute error, in the target's unit.
    """

    r2: Score
    mse: Score
    mae: Score


def bootstrap(
    prediction: np.ndarray, target: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED
) -> Scores:
    """Scores predictions, with percentile intervals over resampled molecules.

    Args:
        prediction: (molecules,), in the target's unit.
        target: (molecules,).
        resamples: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        InputError: If all targets are equal, for which R² is undefined.
    """
    if len(np.unique(target)) < 2:
        raise InputError(
            f"R² is undefined on {len(target)} test molecules without two different targets"
        )
    scores = [
        _scores(prediction[molecules], target[molecules])
        for molecules in drawn(len(target), resamples, seed)
    ]
    tail = (1 - COVERAGE) / 2
    low, high = np.nanquantile(np.concatenate(scores, axis=1), [tail, 1 - tail], axis=1)
    values = _scores(prediction, target)
    return Scores(*(Score(*map(float, score)) for score in zip(values, low, high, strict=True)))


def drawn(units: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yields bootstrap resamples in chunks: arrays of unit indices, (resamples in the chunk,
    units)."""
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK // units)
    for first in range(0, resamples, rows):
        yield generator.integers(units, size=(min(rows, resamples - first), units))


def _scores(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """R², MSE and MAE over the last axis: (..., molecules) -> (3, ...).

    R² is NaN if all targets are equal, which can happen in a resample of few molecules.
    """
    error = prediction - target
    mse = (error**2).mean(axis=-1)
    mae = np.abs(error).mean(axis=-1)
    variance = np.where(np.ptp(target, axis=-1) > 0, target.var(axis=-1), np.nan)
    return np.stack([1 - mse / variance, mse, mae])
