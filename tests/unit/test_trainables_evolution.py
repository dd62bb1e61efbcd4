"""CMA-ES: it finds what it searches, and goes on where it stopped."""

import numpy as np
import pytest
from learner_contract import same
from threadpoolctl import threadpool_limits

from trainables.evolution import Evolution

GOAL = np.array([0.5, -1.0, 2.0])


def value(candidates: np.ndarray) -> np.ndarray:
    return -((candidates - GOAL) ** 2).sum(axis=1)


def searched(evolution: Evolution, generations: int) -> np.ndarray:
    for _ in range(generations):
        evolution.tell(value(evolution.ask()))
    return evolution.mean.copy()


def test_it_finds_the_highest_value() -> None:
    evolution = Evolution(3, 0.3, 12, seed=1)
    assert evolution.mean.tolist() == [0, 0, 0]
    assert evolution.step_size == 0.3
    np.testing.assert_allclose(searched(evolution, 60), GOAL, atol=1e-3)
    assert evolution.step_size < 0.01


@pytest.mark.parametrize("generations", [0, 1, 7])
def test_it_goes_on_bit_by_bit_where_it_stopped(generations: int) -> None:
    whole = Evolution(3, 0.3, 8, seed=2)
    searched(whole, generations)
    resumed = Evolution(3, 0.7, 8, seed=9)
    resumed.restore(whole.state())
    assert same(resumed.state(), whole.state())
    for _ in range(3):
        mine, its = whole.ask(), resumed.ask()
        np.testing.assert_array_equal(mine, its)
        whole.tell(value(mine))
        resumed.tell(value(its))
    assert same(resumed.state(), whole.state())


def test_a_state_is_not_changed_by_what_follows() -> None:
    evolution = Evolution(3, 0.3, 8, seed=2)
    searched(evolution, 2)
    state = evolution.state()
    mean = state["_mean"].clone()
    searched(evolution, 2)
    assert same(state["_mean"], mean)


def test_other_seeds_propose_others() -> None:
    one, other = (Evolution(3, 0.3, 8, seed).ask() for seed in (1, 2))
    assert (one != other).all()


def test_proposals_do_not_depend_on_the_number_of_threads() -> None:
    """Eigenvectors of so many dimensions do, in their last bits."""

    def proposed(threads: int) -> np.ndarray:
        search = Evolution(243, 0.1, 8, seed=0)
        with threadpool_limits(threads):
            for _ in range(3):
                search.tell(-np.square(search.ask()).sum(axis=1))
            return search.ask()

    np.testing.assert_array_equal(proposed(1), proposed(2))
