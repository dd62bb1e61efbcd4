"""Which finalists a race drops after which seed, and how rarely that is the best one."""

import numpy as np
import pytest
from scipy import stats

from analysis.comparison import LEVEL
from engine.race import Loss, Results, level_after, losses

CLOSE = (0.50, 0.52, 0.51, 0.49)
FAR = (0.10, 0.11, 0.09, 0.10)
LATE = (1.0, 4.0, 2.0, 5.0), (0.0, -3.0, -1.0, -4.0)
"""Two of equal spread, told apart after four seeds only."""


def dropped(*results: Results, droppable: set[int] | None = None) -> dict[int, int]:
    """Number of a finalist -> number of seeds after which it is dropped."""
    found = losses(
        dict(enumerate(results)), set(range(len(results))) if droppable is None else droppable
    )
    return {number: loss.seeds for number, loss in found.items()}


def test_one_that_is_far_behind_is_dropped_and_one_close_by_is_not() -> None:
    assert dropped((0.51, 0.52, 0.50, 0.53), CLOSE, FAR) == {2: 2}
    assert dropped((0.51, 0.52, 0.50, 0.53), CLOSE) == {}


def test_a_round_counts_once_all_that_are_left_have_ended_it() -> None:
    assert dropped(CLOSE, FAR[:1]) == {}
    assert dropped(CLOSE, FAR[:2]) == {1: 2}
    assert dropped(LATE[0], LATE[1][:3]) == {}
    assert dropped(*LATE) == {1: 4}


def test_the_round_of_those_left_goes_on_without_the_dropped() -> None:
    assert dropped(*LATE, (-99.0, -99.1)) == {2: 2, 1: 4}
    assert dropped(*LATE, (-99.0,)) == {}


def test_the_p_value_is_welchs_where_the_spreads_are_equal() -> None:
    better, worse = LATE
    loss = losses({4: better, 7: worse}, {7})[7]
    _, expected = stats.ttest_ind(better, worse, equal_var=False, alternative="greater")
    assert loss.p == pytest.approx(expected)
    assert loss == Loss(leader=4, seeds=4, mean=-2.0, best=3.0, p=loss.p)
    assert loss.level == level_after(4)


def test_a_spread_that_is_small_by_chance_counts_as_the_mean_one() -> None:
    """By Welch's own test the two would be told apart."""
    quiet, noisy = [0.40, 0.4001], [0.30, 0.3001]
    assert dropped(quiet, noisy) == {1: 2}
    assert dropped(quiet, noisy, [0.35, 0.20]) == {}


def test_the_levels_add_up_to_that_of_the_comparisons() -> None:
    assert level_after(2) == level_after(3) == LEVEL / 4 > level_after(4)
    assert sum(level_after(seeds) for seeds in range(2, 60)) == pytest.approx(LEVEL)


def test_without_any_spread_every_difference_counts_and_a_tie_does_not() -> None:
    assert dropped([0.3] * 3, [0.1] * 3, [0.3] * 3) == {1: 2}
    assert dropped([0.1] * 7, [0.1] * 7) == {}


def test_one_of_which_a_training_failed_neither_leads_nor_loses() -> None:
    assert dropped([9.0, None, 9.0], CLOSE, FAR) == {2: 2}
    assert dropped([None, 0.1, 0.1], CLOSE) == {}
    assert dropped([None, None], [None, 1.0]) == {}


def test_only_those_that_may_be_dropped_are() -> None:
    assert dropped(CLOSE, FAR, FAR, droppable={2}) == {2: 2}
    assert losses({}, set()) == {}


def test_what_a_round_decides_does_not_depend_on_when_it_is_asked() -> None:
    """A session that goes on comes to the drops that one without interruption comes to."""
    generator = np.random.default_rng(3)
    for _ in range(50):
        means = np.array([0.0, 0.5, 2.0, 4.0, 9.0])[:, None]
        results = dict(enumerate((generator.standard_normal((5, 6)) - means).tolist()))
        at_once = losses(results, set(results))
        step_by_step: dict[int, Loss] = {}
        known = {number: got[:0] for number, got in results.items()}
        for seeds in range(1, 7):
            for number in set(results) - set(step_by_step):
                known[number] = results[number][:seeds]
            step_by_step |= losses(known, set(results) - set(step_by_step), set(step_by_step))
        assert step_by_step == at_once


def test_a_drop_stands_where_another_finalist_is_added() -> None:
    noisy = [0.45, 0.05]
    assert dropped(CLOSE, FAR[:2]) == {1: 2}
    results = {0: CLOSE, 1: FAR[:2], 2: noisy}
    assert losses(results, {0, 1, 2}) == {}, "it would not be dropped beside this one"
    results[2] = [*noisy, -50.0, -50.0, -50.0]
    assert losses(results, {0, 2}, {1}) == {}, "and delays no round"


KINDS = {
    "equal": (1.0,) * 6,
    "the best is noisy": (10.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    "another one is noisy": (1.0, 1.0, 1.0, 1.0, 1.0, 10.0),
    "the best is quiet": (0.1, 1.0, 1.0, 1.0, 1.0, 1.0),
    "two": (1.0, 1.0),
    "two, one noisy": (10.0, 1.0),
}


@pytest.mark.parametrize(
    ("kind", "skew"),
    [*((kind, 0) for kind in KINDS), *((kind, s) for kind in ("equal", "two") for s in (-1, 1))],
)
def test_the_best_is_rarely_dropped(kind: str, skew: int) -> None:
    """It is better by nothing, which is the hardest case. Where spreads differ ten times and are
    skewed too, no test of means keeps its level with so few seeds."""
    spreads, studies = np.array(KINDS[kind])[:, None], 300
    generator = np.random.default_rng(0)
    gone = 0
    for _ in range(studies):
        shape = (len(spreads), 5)
        skewed = skew * (generator.exponential(1.0, shape) - 1)
        noise = skewed if skew else generator.standard_normal(shape)
        gone += 0 in dropped(*(spreads * noise)[:, :4].tolist())
    assert gone / studies <= LEVEL + 2.33 * (LEVEL * (1 - LEVEL) / studies) ** 0.5
