"""The benchmarks of CartPole: from where on a training stays, and how two sides are compared."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

from benchmarks import cartpole_curves, cartpole_play, cartpole_reference
from benchmarks.cartpole_play import FRESH, Run, median_steps, steps_text, trained
from datasets.errors import InputError
from trainables.cartpole import TEST, VALIDATION
from trainables.dqn import LEAST_TRAINING_SEED, DQNConfig

RUNS = [
    Run(1, np.array([9.0, 500, 480, 500])),
    Run(2, np.array([500.0, 500, 500, 500])),
    Run(3, np.array([9.0, 500, 500, 400])),
]


def test_it_is_played_on_seeds_that_no_study_has() -> None:
    assert not {*FRESH} & {*VALIDATION, *TEST}
    assert len(FRESH) == 100
    assert max(FRESH) < LEAST_TRAINING_SEED


def test_a_training_stays_from_where_on_it_is_never_below() -> None:
    assert [run.stays(500) for run in RUNS] == [4000, 1000, None]
    assert [run.stays(475) for run in RUNS] == [2000, 1000, None]


def test_a_training_that_does_not_stay_counts_as_later_than_all_others() -> None:
    assert median_steps(RUNS, 500) == 4000
    assert median_steps(RUNS[2:], 500) == float("inf")
    assert [*map(steps_text, (None, 4000))] == ["not", "4,000"]


def test_a_row_for_each_training_and_one_for_their_median() -> None:
    assert cartpole_curves.rows("zoo", RUNS) == [
        ["zoo", "1", "4,000", "2,000"],
        ["zoo", "2", "1,000", "1,000"],
        ["zoo", "3", "not", "not"],
        ["zoo", "median", "4,000", "2,000"],
    ]
    assert cartpole_curves.rows("zoo", RUNS[2:])[-1] == ["zoo", "median", "not", "not"]


def test_curves_are_drawn_over_steps_with_their_range() -> None:
    figure = cartpole_curves.draw({"champion": RUNS, "zoo": RUNS[:2]})
    (axis,) = figure.axes
    line = next(line for line in axis.lines if line.get_label() == "zoo")
    assert np.asarray(line.get_xdata()).tolist() == [1000, 2000, 3000, 4000]
    assert np.asarray(line.get_ydata()).tolist() == [254.5, 500, 490, 500]
    band = axis.collections[1].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (9, 500)


def test_trainings_of_one_configuration_differ_by_their_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cartpole_play, "FRESH", range(3))
    config = DQNConfig(
        width=8, epochs=2, learning_starts=200, updates_per_step=0.05, batch_size=16
    )
    one, other = trained(config, (4, 5))
    assert (one.seed, other.seed) == (4, 5)
    assert len(one.returns) == len(other.returns) == 2
    (again,) = trained(config, (4,))
    assert again.returns.tolist() == one.returns.tolist()


# --- Stable-Baselines3 ---------------------------------------------------------------------------


class Reference:
    """Stands for Stable-Baselines3's DQN: its network always pushes to the left."""

    made: list[dict[str, Any]]

    def __init__(self, policy: str, environment: Any, **arguments: Any) -> None:
        self.made.append(arguments)
        self.q_net = nn.Linear(4, 2)
        nn.init.zeros_(self.q_net.weight)
        self.num_timesteps = 0

    def learn(
        self, steps: int, callback: Callable[[dict[str, Any], dict[str, Any]], bool]
    ) -> None:
        for _ in range(steps):
            self.num_timesteps += 1
            assert callback({}, {})


def test_the_reference_is_played_after_every_thousand_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Reference, "made", [], raising=False)
    monkeypatch.setitem(sys.modules, "stable_baselines3", SimpleNamespace(DQN=Reference))
    found = list(cartpole_reference.reference((7, 8), epochs=3))
    assert [run.seed for run in found] == [7, 8]
    assert all(run.returns.shape == (3,) and 8 < run.returns.max() < 120 for run in found)
    assert [each["seed"] for each in Reference.made] == [7, 8]


def test_the_reference_has_the_zoo_s_hyperparameters() -> None:
    """As rl-baselines3-zoo writes them, but for the size of a replay that is never full."""
    assert cartpole_reference.theirs(50) == {
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 50_000,
        "learning_starts": 1000,
        "gamma": 0.99,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04,
        "policy_kwargs": {"net_arch": [256, 256]},
    }


def test_without_stable_baselines3_it_is_said_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(InputError, match=r"not installed: pip install -e \"\.\[reference\]\""):
        list(cartpole_reference.reference((0,), 1))


def test_both_sides_are_compared_point_by_point_and_over_all() -> None:
    ours = [Run(n, np.linspace(n, 100 + n, 10)) for n in range(4)]
    theirs = [Run(n, np.linspace(n, 100 + n, 10)) for n in range(1, 5)]
    assert cartpole_reference.rows(ours, theirs) == [
        ["5,000", "46 (44..47)", "47 (45..48)"],
        ["10,000", "102 (100..103)", "102 (101..104)"],
    ]
    said = cartpole_reference.verdict(ours, theirs)
    assert said.startswith("mean return over all points, ours and theirs: 52 ± 1 and 52 ± 1")
    p = float(said.partition("p = ")[2].rstrip(")"))
    assert 0.2 < p < 0.5
