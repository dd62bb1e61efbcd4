"""Which configurations can be told apart: false alarms, true differences, intervals."""

import numpy as np
import pytest

from analysis import comparison
from analysis.comparison import LEVEL, Finalists

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
