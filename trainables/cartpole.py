"""The problem of the CartPole study: balance a pole on a cart, learned from as few steps as
possible.

The environment is Gymnasium's CartPole-v1 (Barto, Sutton and Anderson 1983): a reward of 1 for
each step until the pole or the cart leaves its bounds; an episode is cut off after 500 steps. The
older CartPole-v0 is the same environment, cut off after 200.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from datasets.errors import InputError
from record.trial import Role
from trainables.dqn import DQNConfig, DQNLearner, network
from trainables.problem import Context, Problem

NAME = "CartPole-v1"

VALIDATION = range(100_000, 100_020)
"""Seeds of the episodes by which trials are compared."""

TEST = range(200_000, 200_100)
"""Seeds of the episodes on which the finals are scored."""

LONGEST = 500
"""Steps after which CartPole-v1 cuts an episode off, and thus its highest return."""

RANDOM, CONTROLLER = "random policy", "angle + 0.5 angular velocity > 0"
"""Names of the policies that learn nothing."""

Policy = Callable[[np.ndarray], np.ndarray]
"""From observations, (episodes, 4) float32, to actions, (episodes,) int64: 0 left, 1 right. An
observation is the cart's position (m) and velocity (m/s), and the pole's angle (rad) and angular
velocity (rad/s)."""


@dataclass(frozen=True)
class CartPoleOptions:
    """Options of the environment."""

    episode_steps: int = LONGEST
    """Steps after which an episode is cut off: 500 as in CartPole-v1, or 200 as in CartPole-v0."""

    def __post_init__(self) -> None:
        if not 1 <= self.episode_steps <= LONGEST:
            raise InputError(f"--episode-steps is {self.episode_steps}: expected 1 to {LONGEST}")


@dataclass(frozen=True)
class Episode:
    """One episode of T steps.

    Attributes:
        observations: (T + 1, 4) float32; action t leads from observation t to t + 1.
        actions: (T,) int64.
        total: Its return, the sum of its rewards.
    """

    observations: np.ndarray
    actions: np.ndarray
    total: float


def make_environment(episode_steps: int = LONGEST) -> gym.Env[np.ndarray, int]:
    """Makes an environment that cuts an episode off after `episode_steps` steps."""
    return gym.make(NAME, max_episode_steps=episode_steps, disable_env_checker=True)


def play(policy: Policy, seeds: Sequence[int], episode_steps: int = LONGEST) -> list[Episode]:
    """Plays one episode from each seed, all at once, so that the policy sees them in one batch."""
    environments = [make_environment(episode_steps) for _ in seeds]
    seen = [[each.reset(seed=seed)[0]] for each, seed in zip(environments, seeds, strict=True)]
    done: list[list[int]] = [[] for _ in seeds]
    totals, running = [0.0 for _ in seeds], list(range(len(seeds)))
    while running:
        actions = policy(np.stack([seen[n][-1] for n in running])).tolist()
        ended = set()
        for n, action in zip(running, actions, strict=True):
            observation, reward, terminated, truncated, _ = environments[n].step(action)
            seen[n].append(observation)
            done[n].append(action)
            totals[n] += float(reward)
            if terminated or truncated:
                ended.add(n)
        running = [n for n in running if n not in ended]
    return [
        Episode(np.stack(observations), np.array(actions, np.int64), total)
        for observations, actions, total in zip(seen, done, totals, strict=True)
    ]


def returns(episodes: Sequence[Episode]) -> np.ndarray:
    """Returns the return of each episode, (episodes,) float64."""
    return np.array([episode.total for episode in episodes], np.float64)


def greedy(network: nn.Module) -> Policy:
    """Returns the policy that takes the action of the highest value."""
    device = next(network.parameters()).device

    def act(observations: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            values = network(torch.from_numpy(observations).to(device))
        return values.argmax(dim=1).cpu().numpy()

    return act


def at_random(seed: int = 0) -> Policy:
    """Returns a policy that ignores what it observes."""
    generator = np.random.default_rng(seed)
    return lambda observations: generator.integers(2, size=len(observations))


def controller(observations: np.ndarray) -> np.ndarray:
    """Pushes to where the pole is falling, half a second ahead: one line of arithmetic."""
    return (observations[:, 2] + 0.5 * observations[:, 3] > 0).astype(np.int64)


@dataclass(frozen=True)
class CartPole:
    """CartPole as a `trainables.dqn.EpisodicTask`.

    Attributes:
        episode_steps: Steps after which an episode is cut off.
    """

    episode_steps: int = LONGEST
    observations: int = 4
    actions: int = 2

    @property
    def ceiling(self) -> float:
        """The highest possible return."""
        return float(self.episode_steps)

    def environment(self) -> gym.Env[np.ndarray, int]:
        """Makes an environment to train in."""
        return make_environment(self.episode_steps)

    def validation_returns(self, network: nn.Module) -> np.ndarray:
        """Returns the return of a greedy episode from each validation seed, (20,) float64."""
        return returns(play(greedy(network), VALIDATION, self.episode_steps))


class CartPoleProblem(Problem[DQNConfig]):
    """The `trainables.problem.Problem` of balancing the pole.

    Args:
        options: Options of the environment.

    Attributes:
        task: What a trial learns.
        baselines: Name of a policy that learned nothing -> its episodes from the test seeds.
        facts: Number of seeds of validation and test, and the mean return on the test seeds of a
            random policy and of the controller.
    """

    def __init__(self, options: CartPoleOptions) -> None:
        self.task = CartPole(options.episode_steps)
        policies = {RANDOM: at_random(), CONTROLLER: controller}
        self.baselines = {
            name: play(policy, TEST, options.episode_steps) for name, policy in policies.items()
        }
        self.facts: Mapping[str, Any] = {
            "validation": len(VALIDATION),
            "test": len(TEST),
            "random_return": float(returns(self.baselines[RANDOM]).mean()),
            "controller_return": float(returns(self.baselines[CONTROLLER]).mean()),
        }

    @property
    def digest(self) -> str:
        """Fingerprint of the environment, its version, and the seeds of evaluation."""
        parts = (NAME, gym.__version__, self.task.episode_steps, [*VALIDATION], [*TEST])
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def learner(self, config: DQNConfig, role: Role, context: Context) -> DQNLearner:
        """Makes the learner of one trial; see `trainables.problem.Problem`."""
        del role
        return DQNLearner(config, self.task, context.device)

    def restored(self, config: DQNConfig, model: Mapping[str, Any]) -> nn.Module:
        """Makes the greedy network of a trained trial from its weights, on the CPU."""
        made = network(self.task.observations, self.task.actions, config.width, config.layers)
        made.load_state_dict(model)
        return made.eval()


def zoo(algorithm: str) -> dict[str, Any]:
    """Returns the hyperparameters that rl-baselines3-zoo gives DQN on CartPole-v1.

    Source: ``hyperparams/dqn.yml`` of rl-baselines3-zoo, of a DQN that is not double and sums no
    rewards. It explores for 0.16 of its 50,000 steps, and keeps up to 100,000 transitions, of
    which there are never more than 50,000.
    """
    return {
        "algorithm": algorithm,
        "learning_rate": 2.3e-3,
        "schedule": "constant",
        "discount_gap": 0.01,
        "n_step": 1,
        "batch_size": 64,
        "replay_size": 50_000,
        "updates_per_step": 0.5,
        "update_every": 256,
        "target_every": 10,
        "averaging": 1,
        "exploration_steps": 8_000,
        "exploration_end": 0.04,
        "width": 256,
        "learning_starts": 1_000,
    }


def homework(algorithm: str) -> dict[str, Any]:
    """Returns the published homework's configuration: without a terminal mask, a gamma of 0.95,
    and an exploration that is over after a hundred episodes. The other values are ours."""
    return {
        "algorithm": algorithm,
        "learning_rate": 5e-4,
        "schedule": "constant",
        "discount_gap": 0.05,
        "n_step": 1,
        "batch_size": 32,
        "replay_size": 10_000,
        "updates_per_step": 0.5,
        "target_every": 10,
        "averaging": 1,
        "exploration": "per_episode",
        "exploration_decay": 0.95,
        "width": 32,
        "learning_starts": 128,
        "terminal_mask": False,
    }


HOMEWORK_GRID: Mapping[str, Sequence[Any]] = {
    "algorithm": ("dqn",),
    "learning_rate": (5e-4, 5e-3),
    "batch_size": (32, 128),
    "width": (32, 128),
    "target_every": (10, 500),
}
"""The 16 points of a grid like the homework's, whose own axes are not published."""
