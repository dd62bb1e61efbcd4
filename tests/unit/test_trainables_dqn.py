"""Deep Q-learning: targets by hand, the replay, schedules, and the traps of the field."""

from dataclasses import asdict, replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from contracts import BY_A_CLOCK, here, tried
from learner_contract import Begin, LearnerContract
from torch import nn

from datasets.errors import InputError
from engine.space import parameters_of
from trainables.dqn import (
    EPOCH,
    LEAST_TRAINING_SEED,
    DQNConfig,
    DQNLearner,
    learning_rate,
    share_of_random_actions,
    solved_since,
    targets,
    training_seed,
    updates_due,
)
from trainables.learner import Diverged
from trainables.replay import NStepReturns, Replay, Transition, Transitions

CPU = torch.device("cpu")

SMALL: dict[str, Any] = {
    "width": 8,
    "batch_size": 8,
    "replay_size": 600,
    "updates_per_step": 0.05,
    "learning_starts": 50,
    "exploration_steps": 200,
    "averaging": 100,
    "epochs": 3,
}
"""Fields with which an epoch takes milliseconds."""


class Corridor(gym.Env[np.ndarray, int]):
    """Places 0 to 9 in a row. Action 1 goes on, 0 stays; place 9 is terminal. A reward of 1 a
    step; an episode is cut off after 30 steps. It starts at a place drawn from its seed."""

    def __init__(self, seeds: list[int | None] | None = None) -> None:
        self.seeds = [] if seeds is None else seeds
        self.place = self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, Any]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.place, self.steps = int(self.np_random.integers(5)), 0
        return self.seen(), {}

    def seen(self) -> np.ndarray:
        return np.array([self.place / 10, 1.0], np.float32)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, Any]:
        self.place, self.steps = self.place + action, self.steps + 1
        return self.seen(), 1.0, self.place == 9, self.steps == 30, {}


class CorridorTask:
    """A `trainables.dqn.EpisodicTask` that is played in no time, and remembers the seeds."""

    observations = 2
    actions = 2
    ceiling = 30.0

    def __init__(self) -> None:
        self.seeds: list[int | None] = []

    def environment(self) -> Corridor:
        return Corridor(self.seeds)

    def validation_returns(self, network: nn.Module) -> np.ndarray:
        places = torch.stack([torch.arange(10) / 10, torch.ones(10)], dim=1).to(here())
        with torch.no_grad():
            values = network(places)
        return (values[:, 0] - values[:, 1]).abs().clamp(0, 30).double().cpu().numpy()


def small(**changes: Any) -> DQNConfig:
    return DQNConfig(**{**SMALL, **changes})


def learner(**changes: Any) -> DQNLearner:
    return DQNLearner(small(**changes), CorridorTask(), here())


@pytest.mark.usefixtures("on_each_device")
class TestDQNLearner(LearnerContract):
    @pytest.fixture(params=[{"averaging": 100}, {"averaging": 1, "exploration": "per_episode"}])
    def begin(self, request: pytest.FixtureRequest) -> Begin:
        return lambda: learner(**request.param)


# --- Targets -------------------------------------------------------------------------------------


def table(values: list[list[float]]) -> nn.Module:
    """A network whose values of state n, observed as a one-hot vector, are row n."""
    layer = nn.Linear(len(values), len(values[0]), bias=False)
    layer.weight.data = torch.tensor(values).T.contiguous()
    return layer


ONLINE = table([[1.0, 2.0], [5.0, 0.0]])
TARGET = table([[10.0, 20.0], [30.0, 40.0]])


def batch(discounts: list[float]) -> Transitions:
    return Transitions(
        observations=torch.eye(2),
        actions=torch.tensor([0, 1]),
        rewards=torch.tensor([1.0, 1.9]),
        discounts=torch.tensor(discounts),
        next_observations=torch.eye(2),
    )


def test_the_target_of_dqn_is_the_greatest_value_of_the_target_network() -> None:
    found = targets(batch([0.9, 0.81]), ONLINE, TARGET, "dqn")
    torch.testing.assert_close(found, torch.tensor([1 + 0.9 * 20, 1.9 + 0.81 * 40]))


def test_the_target_of_double_dqn_is_that_of_the_action_which_the_online_network_prefers() -> None:
    """Online: action 1 in state 0, action 0 in state 1."""
    found = targets(batch([0.9, 0.81]), ONLINE, TARGET, "double_dqn")
    torch.testing.assert_close(found, torch.tensor([1 + 0.9 * 20, 1.9 + 0.81 * 30]))


def test_a_target_has_no_gradient() -> None:
    assert not targets(batch([0.9, 0.9]), ONLINE, TARGET, "double_dqn").requires_grad


# --- Steps to transitions ------------------------------------------------------------------------


def seen(number: int) -> np.ndarray:
    return np.array([number], np.float32)


def episode(
    length: int, *, n: int, terminated: bool, terminal_mask: bool = True, gamma: float = 0.9
) -> list[Transition]:
    """The transitions of an episode with observations 0, 1, ... and rewards 1, 2, ..."""
    past = NStepReturns(n, gamma, terminal_mask=terminal_mask)
    found: list[Transition] = []
    for step in range(length):
        is_last = step == length - 1
        found += past.after(
            (seen(step), step % 2, float(step + 1)),
            seen(step + 1),
            terminated=terminated and is_last,
            ended=is_last,
        )
    assert not past.steps
    return found


def discounts(transitions: list[Transition]) -> list[float]:
    return [each[3] for each in transitions]


def test_an_episode_that_was_cut_off_is_bootstrapped_and_a_fall_is_not() -> None:
    assert discounts(episode(3, n=1, terminated=False)) == [0.9, 0.9, 0.9]
    assert discounts(episode(3, n=1, terminated=True)) == [0.9, 0.9, 0.0]


def test_a_fall_is_bootstrapped_without_the_terminal_mask() -> None:
    assert discounts(episode(3, n=1, terminated=True, terminal_mask=False)) == [0.9, 0.9, 0.9]


@pytest.mark.parametrize("terminated", [True, False])
@pytest.mark.parametrize("length", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_returns_over_n_steps_are_those_of_a_naive_sum(
    n: int, length: int, terminated: bool
) -> None:
    gamma, rewards = 0.9, [float(step + 1) for step in range(length)]
    found = episode(length, n=n, terminated=terminated, gamma=gamma)
    assert len(found) == length
    for start, (observation, action, total, discount, following) in enumerate(found):
        end = min(start + n, length)
        expected = sum(gamma ** (k - start) * rewards[k] for k in range(start, end))
        assert (observation[0], action) == (start, start % 2)
        assert total == pytest.approx(expected)
        assert following[0] == end
        falls = terminated and end == length
        assert discount == pytest.approx(0.0 if falls else gamma ** (end - start))


def test_transitions_of_an_epoch_never_lead_from_one_episode_into_another() -> None:
    """The corridor is walked forwards only, so each transition leads on, by at most n places, and
    all but those that ended at place 9 are bootstrapped: also those at the epoch's end."""
    one = learner(n_step=4, replay_size=EPOCH, discount_gap=0.1)
    one.advance(1)
    kept = one.replay.kept
    assert len(one.replay) == EPOCH
    moved = ((kept.next_observations - kept.observations)[:, 0] * 10).round()
    assert moved.min() >= 0
    assert moved.max() == 4
    at_the_end = (kept.next_observations[:, 0] * 10).round() == 9
    assert torch.equal(kept.discounts == 0, at_the_end)
    assert at_the_end.any()


# --- Replay --------------------------------------------------------------------------------------


def test_the_replay_forgets_the_oldest() -> None:
    replay = Replay(3, 1)
    for number in range(5):
        replay.add((seen(number), number, number + 0.5, 0.9, seen(number + 1)))
    assert len(replay) == 3
    assert replay.kept.actions.tolist() == [3, 4, 2]
    assert replay.kept.rewards.tolist() == [3.5, 4.5, 2.5]
    assert replay.kept.next_observations[:, 0].tolist() == [4, 5, 3]


def test_only_what_was_added_is_drawn_each_as_often() -> None:
    replay = Replay(100, 1)
    for number in range(4):
        replay.add((seen(number), number, 0.0, 0.0, seen(number)))
    drawn = replay.sample(4000, torch.Generator().manual_seed(0), CPU).actions
    counts = torch.bincount(drawn, minlength=100)
    assert counts[4:].sum() == 0
    assert counts[:4].min() > 880  # 1,000 expected, standard deviation 27


def test_its_memory_is_there_from_the_beginning() -> None:
    assert learner(replay_size=5000).snapshot().training["replay"]["kept"]["rewards"].numel() == (
        5000
    )


# --- Schedules -----------------------------------------------------------------------------------


def test_exploration_falls_linearly_to_its_end_and_stays() -> None:
    config = DQNConfig(learning_starts=0, exploration_steps=100, exploration_end=0.1)
    found = [share_of_random_actions(config, step, 7) for step in (1, 51, 101, 5000)]
    assert found == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_all_actions_are_random_until_learning_starts() -> None:
    config = DQNConfig(learning_starts=300, exploration_steps=100)
    assert share_of_random_actions(config, 300, 50) == 1.0
    assert share_of_random_actions(config, 301, 50) == config.exploration_end


def test_exploration_per_episode_ends_after_a_hundred_however_short_they_were() -> None:
    """As the homework's: 0.95 ** episodes, less than a random action in a hundred after 100."""
    config = DQNConfig(exploration="per_episode", exploration_decay=0.95, learning_starts=0)
    assert share_of_random_actions(config, 1, 0) == 1.0
    assert share_of_random_actions(config, 9, 2) == pytest.approx(0.9025)
    assert share_of_random_actions(config, 900, 100) < 0.006


@pytest.mark.parametrize("share", [1 / 64, 0.3, 1.0, 1.7])
def test_as_many_updates_are_made_as_asked_for(share: float) -> None:
    config = DQNConfig(updates_per_step=share, learning_starts=0)
    due = [updates_due(config, step) for step in range(1, 5001)]
    assert sum(due) == int(5000 * share)
    assert max(due) - min(due) <= 1


def test_updates_come_at_once_where_they_are_due_every_so_many_steps() -> None:
    config = DQNConfig(updates_per_step=0.5, update_every=256, learning_starts=1000)
    due = {step: n for step in range(1, 1600) if (n := updates_due(config, step))}
    assert due == {1024: 128, 1280: 128, 1536: 128}


def test_the_target_network_changes_only_when_it_is_due() -> None:
    one = learner(target_every=300)
    one._interact(1, 299, [])
    before = one.target_weights.clone()
    assert not torch.equal(before, one.weights.vector)
    one._learn(300)
    assert not torch.equal(one.target_weights, before)


def test_a_task_is_solved_from_where_on_no_return_is_below() -> None:
    assert solved_since([500, 500], 475) == 1000
    assert solved_since([9, 480, 400, 475, 500], 475) == 4000
    assert solved_since([9, 500, 9], 475) == 4000


@pytest.mark.parametrize(("averaging", "is_copy"), [(1, True), (100, False)])
def test_the_greedy_network_is_the_average_of_the_trained_one(
    averaging: int, is_copy: bool
) -> None:
    one = learner(averaging=averaging, updates_per_step=1.0)
    one.advance(1)
    assert torch.equal(one.average.weights, one.weights.vector) == is_copy


def test_the_learning_rate_falls_to_zero_and_stays_there() -> None:
    config = DQNConfig(learning_rate=1e-2, schedule="linear", decay_steps=1000)
    rates = [learning_rate(config, step) for step in (1, 501, 1000, 1001, 5000)]
    assert rates == pytest.approx([1e-2, 5e-3, 1e-5, 0.0, 0.0])
    assert learning_rate(replace(config, schedule="constant"), 5000) == 1e-2


def test_without_a_learning_rate_the_online_network_stays_and_the_average_approaches_it() -> None:
    one = learner(schedule="linear", decay_steps=900, averaging=200, updates_per_step=1.0)
    one.advance(1)
    online = one.weights.vector.detach().clone()
    before = float((one.average.weights - online).abs().max())
    assert "train/loss" not in one.advance(2)
    assert torch.equal(one.weights.vector, online)
    assert float((one.average.weights - online).abs().max()) < before / 2


def test_nothing_is_learned_before_there_is_something_to_learn_from() -> None:
    """The first transition over 8 steps is there after 8 steps."""
    losses = learner(learning_starts=0, n_step=8, updates_per_step=1.0)
    assert losses.advance(1)["train/loss"] > 0


# --- Epochs --------------------------------------------------------------------------------------


def test_an_epoch_is_a_thousand_steps_however_long_its_episodes_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A budget in episodes would favour bad agents, whose episodes cost less."""
    steps: list[int] = []
    original = Corridor.step
    monkeypatch.setattr(Corridor, "step", lambda env, a: steps.append(a) or original(env, a))
    learner().advance(1)
    assert len(steps) == EPOCH


def test_an_epoch_begins_with_a_fresh_environment_of_its_own_seed() -> None:
    one = learner(seed=5)
    for epoch in (1, 2):
        one.advance(epoch)
    assert isinstance(one.task, CorridorTask)
    given = [seed for seed in one.task.seeds if seed is not None]
    assert given == [training_seed(5, 1), training_seed(5, 2)]


def test_seeds_of_training_differ_and_are_none_of_evaluation() -> None:
    found = [training_seed(seed, epoch) for seed in range(30) for epoch in range(1, 30)]
    assert len(set(found)) == len(found)
    assert min(found) >= LEAST_TRAINING_SEED


def test_the_episode_that_the_end_of_an_epoch_cuts_off_is_not_counted() -> None:
    """All actions are random: 0 and 1 alike. Episodes of the corridor take from 4 steps on."""
    one = learner(learning_starts=EPOCH)
    finished = one._interact(1, 100, [])
    assert sum(finished) < 100
    assert one.episodes == len(finished)
    assert min(finished) >= 4


def test_a_loss_that_is_not_finite_ends_the_trial() -> None:
    one = learner()
    one.weights.vector.data[0] = float("nan")
    with pytest.raises(Diverged, match="mean loss nan in epoch 1"):
        one.advance(1)


def test_efficiency_is_the_mean_return_over_all_epochs() -> None:
    one = learner()
    found = [one.advance(epoch) for epoch in (1, 2, 3)]
    returns = [each["validation/return"] for each in found]
    assert found[-1]["validation/efficiency"] == pytest.approx(np.mean(returns) / 30)


# --- Fields --------------------------------------------------------------------------------------

SET_ONLY: dict[str, tuple[Any, ...]] = {
    "layers": (1, 2),
    "learning_starts": (50, 200),
    "update_every": (1, 100),
    "exploration": ("linear", "per_episode"),
    "terminal_mask": (True, False),
    "gradient_clip": (0.01, 10.0),
    "seed": (0, 1),
    "epochs": (2, 3),
}
"""Fields that are never searched, with values that lead to different trials."""

WITH: dict[str, dict[str, Any]] = {
    "algorithm": {"updates_per_step": 0.5, "learning_rate": 1e-2, "target_every": 500}
}
"""Fields beside which another one matters: the two networks have to prefer different actions."""


def outcome(**changes: Any) -> list[dict[str, float]]:
    one = learner(**{"epochs": 2, **changes})
    metrics = [one.advance(epoch) for epoch in range(1, one.config.epochs + 1)]
    return [{k: v for k, v in each.items() if k not in BY_A_CLOCK} for each in metrics]


SEARCHED = {parameter.field: tried(parameter) for parameter in parameters_of(DQNConfig)}


@pytest.mark.parametrize(("field", "values"), [*SEARCHED.items(), *SET_ONLY.items()])
def test_each_field_changes_what_is_learned(field: str, values: tuple[Any, ...]) -> None:
    one, other = (outcome(**{**WITH.get(field, {}), field: value}) for value in values)
    assert one != other


def test_the_decay_of_exploration_matters_where_it_is_used() -> None:
    one, other = (
        outcome(exploration="per_episode", exploration_decay=decay) for decay in (0.5, 0.99)
    )
    assert one != other


def test_every_field_is_tried() -> None:
    fields = asdict(DQNConfig()).keys()
    assert fields == {*SEARCHED, *SET_ONLY, "exploration_decay"}


def test_defaults_lie_in_their_ranges() -> None:
    values = asdict(DQNConfig())
    for parameter in parameters_of(DQNConfig):
        assert parameter.value(values) is not None, parameter.key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm": "sarsa"}, "algorithm is 'sarsa': expected one of dqn, double_dqn"),
        ({"n_step": 0}, "n_step is 0: expected at least 1"),
        ({"discount_gap": 1.5}, "discount_gap is 1.5: expected 0 to 1"),
        ({"exploration_end": -0.1}, "exploration_end is -0.1: expected 0 to 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: expected above 0"),
        ({"learning_starts": -1}, "learning_starts is -1: expected at least 0"),
    ],
)
def test_a_field_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(small(), **changes)
