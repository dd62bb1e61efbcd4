"""Which of several configurations are better than which, and how sure that is.

Each was trained with several seeds and scored on the same test units: molecules, or episodes. A
score is 1 - error / error of a reference, both summed over the units: R² where the reference
predicts the targets' mean, the skill of a rollout where it keeps a frame.

Two kinds of luck decide how sure a mean over the seeds is. That of the training shows in the
spread over the seeds. That of the draw of the test units shows in a bootstrap over them, in which
all configurations see the same resamples (paired), so that a difference between two hangs on the
units only as far as they disagree on them. The variances of both add up; since they come from few
values the intervals are Student's, with degrees of freedom after Welch (1947) and Satterthwaite
(1946). Where every pair is compared, Holm's method (1979) bounds the probability that any two
equal ones are called different.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from analysis.scores import COVERAGE, RESAMPLES, SEED, Score, drawn

LEVEL = 1 - COVERAGE
"""Probability, at most, of calling any two configurations different where all are equal."""


@dataclass(frozen=True)
class Comparison:
    """Two configurations.

    Attributes:
        better: The one with the higher mean score.
        worse: The other one.
        difference: Of their mean scores, with an interval for this pair alone.
        p: Probability of a difference as large or larger between equal ones, in any of the pairs.
    """

    better: str
    worse: str
    difference: Score
    p: float

    @property
    def is_distinguishable(self) -> bool:
        """Whether the two can be told apart."""
        return self.p < LEVEL


class Finalists:
    """Configurations on the same test units.

    Args:
        errors: Name -> (seeds, units) float64, not negative: the error of each of its runs on each
            unit. Where all have one seed only, the luck of the training is left out.
        reference: (units,) float64: the error of the reference.

    Raises:
        ValueError: If there are less than two units, some have one seed and others several, an
            error is not finite, or the reference has none, which leaves nothing to divide by.
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
        means = np.stack([runs.mean(axis=0) for runs in errors.values()])
        self.resampled = dict(zip(errors, _resampled(means, reference), strict=True))

    def mean(self, name: str) -> Score:
        """The mean score of one, over its seeds, with its interval."""
        value = float(self.scores[name].mean(axis=0))
        return self._student(value, self.resampled[name], (name,)).score

    def compare(self) -> list[Comparison]:
        """Every pair, in the order of their names' first appearance."""
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
        return self._student(value, resampled, (better, worse))

    def _student(self, value: float, resampled: np.ndarray, names: tuple[str, ...]) -> "_Student":
        """Of a mean, or a difference of means, with what the resamples give for it."""
        # A resample of few units varies less than a new draw of as many would.
        spread = [(float(resampled.var(axis=0)) * self.units / (self.units - 1), self.units - 1)]
        for name in names:
            seeds = len(self.scores[name])
            if seeds > 1:
                spread.append((float(self.scores[name].var(axis=0, ddof=1)) / seeds, seeds - 1))
        variance = sum(part for part, _ in spread)
        freedom = variance**2 / sum(part**2 / own for part, own in spread) if variance else 1.0
        half = float(stats.t.ppf((1 + COVERAGE) / 2, freedom)) * variance**0.5
        return _Student(
            score=Score(value, value - half, value + half),
            p=_two_sided(value, variance**0.5, freedom),
        )


@dataclass(frozen=True)
class _Student:
    """A value with its interval, and the probability of so large a one where the true one is 0."""

    score: Score
    p: float


def _two_sided(value: float, error: float, freedom: float) -> float:
    if error == 0:
        return float(value == 0)
    return float(2 * stats.t.sf(abs(value) / error, freedom))


def _resampled(errors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Scores on resampled units: (configurations, units), (units,) -> (configurations,
    resamples)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = [
            1 - errors[:, units].sum(axis=-1) / reference[units].sum(axis=-1)
            for units in drawn(len(reference), RESAMPLES, SEED)
        ]
    # Of few units some may be resampled on which the reference makes no error: no score there.
    found = np.concatenate(scores, axis=1)
    return found[:, np.isfinite(found).all(axis=0)]


def _holm(p: list[float]) -> list[float]:
    """Corrects probabilities for their number, after Holm (1979)."""
    corrected, least = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, p[place] * (len(p) - rank)))
        corrected[place] = least
    return corrected
