"""Which configurations can be told apart: false alarms, true differences, intervals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from analysis import comparison
from analysis.comparison import LEVEL, Finalists
from engine.race import losses

SEEDS = 5
NAMES = tuple("abcdef")

DRAWS = 600
"""Studies that are simulated."""

CHANCE = 2.33 * (LEVEL * (1 - LEVEL) / DRAWS) ** 0.5
"""By how much the share of false alarms may exceed its level here, in one test of a hundred."""


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of what an analysis draws: over hundreds of studies they say the same."""
    monkeypatch.setattr(comparison, "RESAMPLES", 200)


def simulated(
    generator: np.random.Generator, units: int, factors: dict[str, float], luck: float = 0.1
) -> Finalists:
    """Configurations whose expected errors on each unit differ by nothing but a factor.

    Some units are harder for all, each run has luck with its training, each configuration its own
    strengths, and each error is noisy.
    """
    hard = generator.lognormal(0.0, 1.0, units)
    errors = {}
    for name, factor in factors.items():
        strengths = generator.gamma(4.0, 1 / 4, units)
        lucky = np.exp(luck * generator.standard_normal((SEEDS, 1)))
        noise = generator.gamma(1.0, 1.0, (SEEDS, units))
        errors[name] = factor * 0.1 * hard * strengths * lucky * noise
    return Finalists(errors, hard * generator.gamma(4.0, 1 / 4, units))


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize("units", [6, 200])
@pytest.mark.parametrize("luck", [0.0, 0.3])
def test_equal_configurations_are_rarely_told_apart(units: int, luck: float) -> None:
    """In any of their pairs, also where the best one is looked at alone."""
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(DRAWS):
        finalists = simulated(generator, units, dict.fromkeys(NAMES, 1.0), luck)
        alarms += any(each.is_distinguishable for each in finalists.compare())
    assert alarms / DRAWS <= LEVEL + CHANCE


def test_a_true_difference_is_found() -> None:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(50):
        factors = {name: 0.5 if name == "c" else 1.0 for name in NAMES}
        verdicts = simulated(generator, 1000, factors).compare()
        assert len(verdicts) == len(NAMES) * (len(NAMES) - 1) // 2
        told = {(v.better, v.worse) for v in verdicts if v.is_distinguishable}
        found.append({("c", other) for other in NAMES if other != "c"} <= told)
    assert np.mean(found) >= 0.9


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize("units", [6, 200])
def test_the_interval_of_a_mean_covers_the_true_one(units: int) -> None:
    generator = np.random.default_rng(1)
    expected = 1 - 0.1
    covered = []
    for _ in range(DRAWS):
        mean = simulated(generator, units, {"a": 1.0}, luck=0.1).mean("a")
        covered.append(mean.low <= expected <= mean.high)
    # A ratio of sums over six units is skewed, and its bootstrap a little too sure of itself.
    assert np.mean(covered) >= (0.95 if units > 100 else 0.90) - CHANCE


def test_a_difference_hangs_only_on_what_the_two_disagree_on() -> None:
    """Both find the same units hard: the means are unsure, the difference is not."""
    generator = np.random.default_rng(0)
    hard = generator.lognormal(0.0, 1.5, 50)
    runs = 0.1 * hard * np.ones((SEEDS, 1)) * np.linspace(0.99, 1.01, SEEDS)[:, None]
    finalists = Finalists({"a": runs, "b": 1.1 * runs}, generator.permutation(hard))
    (verdict,) = finalists.compare()
    assert (verdict.better, verdict.worse) == ("a", "b")
    width = finalists.mean("a").high - finalists.mean("a").low
    assert verdict.difference.high - verdict.difference.low < width / 2


def test_the_mean_is_that_of_the_scores_of_the_seeds() -> None:
    errors = np.array([[0.1, 0.3], [0.2, 0.2], [0.3, 0.3]])
    mean = Finalists({"a": errors}, np.array([1.0, 1.0])).mean("a")
    assert mean.value == pytest.approx(1 - (0.2 + 0.2 + 0.3) / 3)
    assert mean.low < mean.value < mean.high


def test_one_seed_leaves_the_luck_of_the_training_out() -> None:
    generator = np.random.default_rng(0)
    errors = generator.gamma(1.0, 0.1, (1, 100))
    reference = generator.gamma(4.0, 1 / 4, 100)
    lucky = errors * np.linspace(0.5, 1.5, SEEDS)[:, None]
    one, many = (Finalists({"a": runs}, reference).mean("a") for runs in (errors, lucky))
    assert one.value == pytest.approx(many.value)
    assert 0 < one.high - one.low < (many.high - many.low) / 2


@pytest.mark.parametrize("units", [0, 1])
def test_too_few_units_are_refused(units: int) -> None:
    with pytest.raises(ValueError, match="test units"):
        Finalists({"a": np.ones((2, units))}, np.ones(units))


@pytest.mark.parametrize(
    ("errors", "reference", "said"),
    [(np.nan, 1.0, "not finite"), (1.0, np.inf, "not finite"), (1.0, 0.0, "all alike")],
)
def test_scores_that_do_not_exist_are_refused(errors: float, reference: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Finalists({"a": np.full((2, 3), errors)}, np.full(3, reference))


def test_resamples_on_which_the_reference_is_perfect_count_for_nothing() -> None:
    finalists = Finalists(
        {"a": np.array([[0.1, 0.3], [0.1, 0.2]]), "b": np.array([[0.2, 0.3], [0.1, 0.4]])},
        np.array([0.0, 1.0]),
    )
    assert np.isfinite(finalists.resampled["a"]).all()
    (pair,) = finalists.compare()
    assert np.isfinite([pair.p, pair.difference.low, pair.difference.high]).all()


def test_holm_corrects_for_the_number_of_pairs() -> None:
    from analysis.comparison import _holm

    assert _holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert _holm([0.5, 0.9]) == [1.0, 1.0]
    assert _holm([]) == []


# After a race on the validation split, where a training is as lucky as on the test split

RACES = 500
"""Studies of a kind that are simulated."""

RACE_CHANCE = 2.33 * (LEVEL * (1 - LEVEL) / RACES) ** 0.5
"""By how much a share of 5 % may be exceeded here, in one test of a hundred."""

LUCK: dict[str, tuple[float, ...]] = {
    "equal": (0.1,) * 6,
    "one noisy": (0.3, *(0.03,) * 5),
    "one quiet": (0.01, *(0.1,) * 5),
}
"""Spread of each configuration's error over its trainings, relative."""

UNITS = 50


@dataclass(frozen=True)
class Raced:
    """A simulated study with finals that raced.

    Attributes:
        errors: Name -> (seeds, units) the test errors of all seeds.
        reference: (units,) the errors of the reference.
        left: Name -> the number of seeds that the race left.
        champion: Name of the one with the best mean on the validation split of those left.
    """

    errors: dict[str, np.ndarray]
    reference: np.ndarray
    left: dict[str, int]
    champion: str

    @property
    def raced(self) -> Finalists:
        """The finalists with as many seeds as the race left them."""
        cut = {name: runs[: self.left[name]] for name, runs in self.errors.items()}
        return Finalists(cut, self.reference)

    @property
    def whole(self) -> Finalists:
        """The finalists as they would have been without a race."""
        return Finalists(self.errors, self.reference)

    @property
    def dropped(self) -> set[str]:
        return {name for name, seeds in self.left.items() if seeds < SEEDS}


def raced(
    generator: np.random.Generator, luck: tuple[float, ...], factors: tuple[float, ...]
) -> Raced:
    """Simulates one study; the expected test score of a configuration is 1 - 0.1 * factor."""
    hard = generator.lognormal(0.0, 0.5, UNITS)
    errors, validation = {}, {}
    for name, spread, factor in zip(NAMES, luck, factors, strict=True):
        lucky = 1 + spread * generator.standard_normal(SEEDS)
        noise = generator.gamma(25.0, 1 / 25, (SEEDS, UNITS))
        errors[name] = factor * 0.1 * hard * np.abs(lucky)[:, None] * noise
        seen = lucky + 0.2 * spread * generator.standard_normal(SEEDS)
        validation[name] = (-factor * seen).tolist()
    reference = hard * generator.gamma(25.0, 1 / 25, UNITS)
    left = _left(validation)
    whole = [name for name in NAMES if left[name] == SEEDS]
    champion = max(whole, key=lambda name: np.mean(validation[name]))
    return Raced(errors, reference, left, champion)


def _left(validation: dict[str, list[float]]) -> dict[str, int]:
    """Name of a configuration -> the number of seeds after which it is dropped, or all."""
    results = dict(enumerate(validation.values()))
    found = losses({n: got[: SEEDS - 1] for n, got in results.items()}, set(results))
    return {
        name: found[number].seeds if number in found else SEEDS
        for number, name in enumerate(validation)
    }


def studies(
    kind: str, factors: tuple[float, ...] = (1.0,) * 6, count: int = RACES
) -> Iterator[Raced]:
    generator = np.random.default_rng(0)
    for _ in range(count):
        yield raced(generator, LUCK[kind], factors)


def share(found: Iterator[Raced], holds: Callable[[Raced], bool]) -> float:
    return float(np.mean([holds(study) for study in found]))


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize("kind", LUCK)
def test_after_a_race_equal_configurations_are_rarely_told_apart(kind: str) -> None:
    def is_alarm(study: Raced) -> bool:
        return any(each.is_distinguishable for each in study.raced.compare())

    assert share(studies(kind), is_alarm) <= LEVEL + RACE_CHANCE


@pytest.mark.parametrize("kind", LUCK)
def test_a_race_rarely_drops_the_best(kind: str) -> None:
    best = (0.999, *(1.0,) * 5)
    assert share(studies(kind, best), lambda study: "a" in study.dropped) <= LEVEL + RACE_CHANCE


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize("factor", [1.2, 1.4, 2.0, 4.0])
def test_after_a_race_true_differences_are_found_as_often(factor: float) -> None:
    """From the champion to a loser, 2 to 30 of the champion's spreads away. Luck is relative,
    so that the loser is as many times as noisy: of one four times as noisy two seeds tell so
    little that one difference in thirteen is missed, which all five would show."""
    factors = (1.0, 1.0, 1.0, 1.0, factor, factor)

    def told(finalists: Finalists, champion: str) -> bool:
        pairs = {
            (each.better, each.worse) for each in finalists.compare() if each.is_distinguishable
        }
        return (champion, "f") in pairs

    found = [
        (told(each.raced, each.champion), told(each.whole, each.champion))
        for each in studies("equal", factors, 200)
        if each.champion != "f"
    ]
    with_race, without = np.mean(found, axis=0)
    assert with_race >= without - (0.05 if factor < 4 else 0.10)


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize("kind", LUCK)
def test_after_a_race_intervals_cover_the_true_means(kind: str) -> None:
    """That of the champion, and those of the dropped, which are clearly worse."""
    factors = (1.0, 1.0, 1.0, 1.5, 2.0, 4.0)
    champions, dropped = [], []
    for study in studies(kind, factors, RACES // 2):
        finalists = study.raced
        for name, factor in zip(NAMES, factors, strict=True):
            mean = finalists.mean(name)
            covered = mean.low <= 1 - 0.1 * factor <= mean.high
            if name == study.champion:
                champions.append(covered)
            elif name in study.dropped:
                dropped.append(covered)
    assert np.mean(champions) >= 0.95 - RACE_CHANCE
    assert len(dropped) > RACES // 2
    assert np.mean(dropped) >= 0.95 - RACE_CHANCE


def test_the_spread_of_a_dropped_configuration_is_at_least_the_mean_one() -> None:
    def scored(*scores: float) -> np.ndarray:
        return np.repeat(1 - np.array(scores)[:, None], 4, axis=1)

    whole = {"a": scored(0.4, 0.5, 0.6), "b": scored(0.5, 0.6, 0.7)}
    close = Finalists({**whole, "c": scored(0.30, 0.30)}, np.ones(4))
    assert close._of_training("c") == pytest.approx((0.02 / 3, 4.0)), "mean, of two known by 2"
    assert close._of_training("a") == pytest.approx((0.01, 2)), "all of its seeds"
