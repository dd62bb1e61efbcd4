"""Compares configurations statistically: intervals of mean scores, and a test of every pair.

Each configuration was trained with several seeds and scored on the same test units, such as
molecules or episodes. A score is 1 - error / error of a reference, both summed over the units: it
is R² if the reference predicts the targets' mean, and the skill of a rollout if the reference
freezes a frame.

Two sources of variance decide the uncertainty of a mean over the seeds. The variance of training
is estimated from the spread over the seeds. The variance from sampling the test units is estimated
by a bootstrap over them, in which all configurations see the same resamples (paired), so that a
difference between two depends on the units only as far as the two disagree on them. Both variances
add up; since they come from few values, the intervals are Student's, with degrees of freedom after
Welch (1947) and Satterthwaite (1946). As every pair is compared, Holm's method (1979) bounds the
probability that any two equal configurations are called different.

A configuration with fewer seeds than another was dropped early. That happens most easily where its
scores lie close together by chance, and two of them tell little of their spread. Therefore its
variance of training is at least the mean over all configurations, with the degrees of freedom of
that mean; and as it was compared before, its p-values are doubled. False alarms are then as rare
as stated. True differences are found as often as if none had been dropped where spreads are alike,
and a little less often where the worse configuration is several times as noisy as the others:
simulated in tests/unit/test_analysis_comparison.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from analysis.scores import COVERAGE, RESAMPLES, SEED, Score, drawn

LEVEL = 1 - COVERAGE
"""Family-wise error rate: the highest probability of calling any two configurations different when
all are equal."""


@dataclass(frozen=True)
class Comparison:
    """The comparison of two configurations.

    Attributes:
        better: Name of the configuration with the higher mean score.
        worse: Name of the other one.
        difference: Difference of the mean scores, with an interval for this pair alone.
        p: Holm-corrected p-value: the probability of a difference at least this large between
            equal configurations, in any of the pairs.
    """

    better: str
    worse: str
    difference: Score
    p: float

    @property
    def is_distinguishable(self) -> bool:
        """Whether the difference is significant: the corrected p-value is below `LEVEL`."""
        return self.p < LEVEL


class Finalists:
    """Mean scores of configurations on the same test units, and their comparisons.

    Args:
        errors: Name of a configuration -> (seeds, units) float64, not negative: the error of each
            training on each unit. If all have a single seed, the variance of training is left out.
        reference: (units,) float64: the error of the reference.

    Raises:
        ValueError: If there are fewer than two units, some configurations have one seed and others
            several, an error is not finite, or the reference's errors are all zero.
    """

    def __init__(self, errors: Mapping[str, np.ndarray], reference: np.ndarray) -> None:
        if not all(np.isfinite(each).all() for each in (reference, *errors.values())):
            raise ValueError("an error on a test unit is not finite")
        if not reference.any():
            raise ValueError("the test units are all alike, the reference makes no error on them")
        seeds = {len(runs) for runs in errors.values()}
        if len(reference) < 2 or (1 in seeds and len(seeds) > 1):
            raise ValueError(f"{len(reference)} test units, {sorted(seeds)} seeds: too few")
        self.scores = {
            name: 1 - runs.sum(axis=1) / reference.sum(axis=0) for name, runs in errors.items()
        }
        self.units = len(reference)
        self.most = max(seeds, default=0)
        means = np.stack([runs.mean(axis=0) for runs in errors.values()])
        self.resampled = dict(zip(errors, _resampled(means, reference), strict=True))

    def mean(self, name: str) -> Score:
        """Returns the mean score of a configuration over its seeds, with its interval."""
        value = float(self.scores[name].mean(axis=0))
        return self._student(value, self.resampled[name], (name,)).score

    def compare(self) -> list[Comparison]:
        """Compares every pair of configurations, in the order in which they were given."""
        pairs = [self._ordered(*pair) for pair in combinations(self.scores, 2)]
        found = [self._difference(*pair) for pair in pairs]
        corrected = _holm([each.p for each in found])
        return [
            Comparison(better, worse, each.score, p)
            for (better, worse), each, p in zip(pairs, found, corrected, strict=True)
        ]

    def _ordered(self, one: str, other: str) -> tuple[str, str]:
        first = self.scores[one].mean(axis=0) >= self.scores[other].mean(axis=0)
        return (one, other) if first else (other, one)

    def _difference(self, better: str, worse: str) -> "_Student":
        value = float(self.scores[better].mean(axis=0) - self.scores[worse].mean(axis=0))
        resampled = self.resampled[better] - self.resampled[worse]
        found = self._student(value, resampled, (better, worse))
        looks = 1 + (self._is_short(better) or self._is_short(worse))
        return replace(found, p=min(1.0, looks * found.p))

    def _student(self, value: float, resampled: np.ndarray, names: tuple[str, ...]) -> "_Student":
        """Returns interval and p-value of a mean score, or of a difference of two.

        Args:
            value: The mean, or the difference.
            resampled: (resamples,) its bootstrap replicates.
            names: The one or two configurations that it comes from.
        """
        # A resample of few units varies less than a new sample of as many would.
        spread: list[tuple[float, float]] = [
            (float(resampled.var(axis=0)) * self.units / (self.units - 1), self.units - 1)
        ]
        for name in names:
            seeds = len(self.scores[name])
            if seeds > 1:
                variance, freedom = self._of_training(name)
                spread.append((variance / seeds, freedom))
        variance = sum(part for part, _ in spread)
        freedom = variance**2 / sum(part**2 / own for part, own in spread) if variance else 1.0
        half = float(stats.t.ppf((1 + COVERAGE) / 2, freedom)) * variance**0.5
        return _Student(
            score=Score(value, value - half, value + half),
            p=_two_sided(value, variance**0.5, freedom),
        )

    def _of_training(self, name: str) -> tuple[float, float]:
        """Returns the variance of a configuration's scores over seeds, with its degrees of
        freedom."""
        every = {
            name: (float(scores.var(axis=0, ddof=1)), len(scores) - 1)
            for name, scores in self.scores.items()
        }
        own, freedom = every[name]
        total = sum(variance for variance, _ in every.values())
        if not self._is_short(name) or not total:
            return own, freedom
        freedom = total**2 / sum(part**2 / of for part, of in every.values())
        return max(own, total / len(every)), freedom

    def _is_short(self, name: str) -> bool:
        """Returns whether a configuration has fewer seeds than another."""
        return len(self.scores[name]) < self.most


@dataclass(frozen=True)
class _Student:
    """A value with its interval, and its two-sided p-value under a true value of 0."""

    score: Score
    p: float


def _two_sided(value: float, error: float, freedom: float) -> float:
    if error == 0:
        return float(value == 0)
    return float(2 * stats.t.sf(abs(value) / error, freedom))


def _resampled(errors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Scores resampled units: (configurations, units), (units,) -> (configurations, resamples).

    Resamples in which a score is not finite are dropped.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = [
            1 - errors[:, units].sum(axis=-1) / reference[units].sum(axis=-1)
            for units in drawn(len(reference), RESAMPLES, SEED)
        ]
    # With few units, the reference may have no error on any unit of a resample: no score there.
    found = np.concatenate(scores, axis=1)
    return found[:, np.isfinite(found).all(axis=0)]


def _holm(p: list[float]) -> list[float]:
    """Corrects p-values for the number of comparisons, after Holm (1979)."""
    corrected, least = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, p[place] * (len(p) - rank)))
        corrected[place] = least
    return corrected
