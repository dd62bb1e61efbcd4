"""Which trials are stopped early: those that Ray's own successive halving would stop."""

import random
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest
from happened import at, began, placed, proposed, report
from ray.tune.schedulers.async_hyperband import _Bracket
from ray.tune.schedulers.trial_scheduler import TrialScheduler

from engine.early_stopping import Halving
from engine.rungs import REDUCTION, first_rung, rungs
from record.events import Ended, Proposed, Reported
from record.state import StudyState
from record.trial import Baseline, Replicate, Role, Searched


class Searching:
    """A search, and who is stopped in it.

    Args:
        epochs: Of a trial.
        direction: See `record.events.SessionBegan`.
    """

    def __init__(self, epochs: int = 10, direction: str = "maximize") -> None:
        self.epochs = epochs
        self.state = StudyState()
        self.state.apply(began(direction=direction))
        self.halving = self.another_session()

    def another_session(self) -> Halving:
        self.halving = Halving(self.state, rungs(self.epochs))
        return self.halving

    def trial(self, role: Role | None = None) -> int:
        """A trial gets its place."""
        number = self.state.next_number
        index = self.state.next_index
        event: Proposed = proposed(number, role or Searched(index))
        self.state.apply(event)
        self.state.apply(placed(number))
        return number

    def does(self, number: int, *values: float) -> bool:
        """A trial reports epochs in one message; returns whether it is to be stopped."""
        done = self.state.trial(number).epoch
        reports = tuple(report(done + i, value) for i, value in enumerate(values, start=1))
        self.state.apply(Reported(number, reports, "c"))
        return self.halving.is_behind(self.state.trial(number))


# Against Ray's


def rays(epochs: int) -> _Bracket:
    """Ray's bracket of such a search."""
    return _Bracket(first_rung(epochs), epochs, REDUCTION, 0)


def happenings(chance: random.Random, epochs: int) -> Generator[tuple[int, float], bool, None]:
    """Trials that do one epoch after the other, up to five at once: number and objective. Whoever
    listens says by `send` whether the trial is stopped."""
    running, done, number = [], {}, 0
    while number < 40 or running:
        if number < 40 and len(running) < 5:
            running.append(number)
            done[number] = 0
            number += 1
        each = chance.choice(running)
        done[each] += 1
        # Few values: some are equal, and some are a percentile.
        is_stopped = yield each, chance.choice((chance.random(), chance.randrange(4) / 4))
        if is_stopped or done[each] == epochs:
            running.remove(each)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 10, 15, 50])
def test_each_verdict_is_that_of_rays_bracket(epochs: int, direction: str) -> None:
    sign = 1 if direction == "maximize" else -1
    stopped = 0
    for seed in range(8):
        searching, ray = Searching(epochs, direction), rays(epochs)
        drawn = happenings(random.Random(seed), epochs)
        number, value = next(drawn)
        while True:
            while searching.state.known(number) is None:
                searching.trial()
            verdict = searching.does(number, value)
            epoch = searching.state.trial(number).epoch
            if epoch < epochs:  # after the last one Ray stops whatever it is
                theirs: Any = SimpleNamespace(trial_id=str(number))
                expected = ray.on_result(theirs, epoch, sign * value)
                assert verdict == (expected == TrialScheduler.STOP), (seed, number, epoch)
            stopped += verdict
            try:
                number, value = drawn.send(verdict)
            except StopIteration:
                break
    assert stopped > 8 or epochs == 1, "or they would show little"


def test_the_rungs_are_rays() -> None:
    for epochs in range(2, 200):
        theirs = sorted(rung for rung, _ in rays(epochs)._rungs if rung < epochs)
        assert list(Searching(epochs).halving.rungs) == theirs


def test_several_epochs_in_one_message_are_judged_at_each_of_their_rungs() -> None:
    searching = Searching()
    for _ in range(3):
        assert not searching.does(searching.trial(), *[1.0] * 10)
    good = [1.0] * 10
    for bad in (2, 4, 8):
        values = [*good[: bad - 1], 0.5, *good[bad:]]
        assert searching.does(searching.trial(), *values), f"at {bad}"
    assert not searching.does(searching.trial(), 0.0, 1.0, 0.0, 1.0, *[0.0] * 3, 1.0, 0.0, 0.0)


def test_a_trial_is_judged_once_at_a_rung() -> None:
    searching = Searching()
    first = searching.trial()
    assert not searching.does(first, 0.1, 0.1)
    assert not searching.does(searching.trial(), 1.0, 1.0)
    assert not searching.does(first, 0.1), "though it would be behind by now"
    assert len(searching.halving.reached[2]) == 2


# Who counts


def test_a_baseline_is_never_stopped_and_the_others_are_compared_with_it() -> None:
    searching = Searching()
    assert not searching.does(searching.trial(), 0.5, 0.5)
    baseline = searching.trial(Baseline(1))
    assert not searching.does(baseline, *[0.0] * 10)
    best = searching.trial(Baseline(2))
    assert not searching.does(best, 0.9, 0.9)
    assert searching.does(searching.trial(), 0.4, 0.4), "the median of 0.0, 0.5 and 0.9 is 0.5"
    assert searching.halving.reached[2] == {0: 0.5, 1: 0.0, 2: 0.9, 3: 0.4}


def test_what_is_trained_beside_the_search_is_neither_stopped_nor_counted() -> None:
    searching = Searching()
    for _ in range(2):
        searching.does(searching.trial(), *[1.0] * 10)
    assert not searching.does(searching.trial(Replicate(0, 1)), *[0.0] * 10)
    assert set(searching.halving.reached[2]) == {0, 1}
    assert set(searching.another_session().reached[2]) == {0, 1}


def test_trials_of_an_earlier_session_count_whatever_became_of_them() -> None:
    searching = Searching()
    for status in ("finished", "pruned", "failed", "infeasible"):
        number = searching.trial()
        searching.does(number, 0.8, 0.8)
        searching.state.apply(Ended(number, status, at(9)))
    left = searching.trial()
    searching.does(left, 0.9, 0.9, 0.9, 0.9)
    before = searching.halving.reached
    searching.state.apply(began(2))
    assert searching.another_session().reached == before
    assert searching.does(searching.trial(), 0.7, 0.7)


def test_a_trial_that_goes_on_in_a_later_session_is_not_judged_again_where_it_was() -> None:
    searching = Searching()
    left = searching.trial()
    searching.does(left, 0.1, 0.1)
    searching.does(searching.trial(), 1.0, 1.0, 1.0, 1.0)
    searching.state.apply(began(2))
    searching.another_session()
    searching.state.apply(placed(left))
    assert not searching.does(left, 2.0)
    assert not searching.does(left, 2.0)


def test_the_first_one_at_a_rung_goes_on_and_so_does_who_is_equal() -> None:
    searching = Searching()
    for _ in range(3):
        assert not searching.does(searching.trial(), 0.5, 0.5)
