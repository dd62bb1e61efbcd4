"""What an agent remembers: steps of an environment, made into transitions, kept and replayed.

Sources: Mnih et al. 2015 (replay), Sutton 1988 (returns over several steps).
"""

from collections import deque
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Transitions:
    """N transitions over one or several steps.

    Attributes:
        observations: What was observed, (N, observations) float32.
        actions: The action taken there, (N,) int64.
        rewards: Discounted sum of the rewards of the steps, (N,) float32.
        discounts: Factor of the value of the next observation, (N,) float32: gamma to the power of
            the number of steps, or 0 where nothing follows.
        next_observations: What was observed after the steps, (N, observations) float32.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    discounts: Tensor
    next_observations: Tensor


Transition = tuple[np.ndarray, int, float, float, np.ndarray]
"""One transition, in the order of the attributes of `Transitions`."""


class NStepReturns:
    """Turns the steps of an episode into transitions over `n` steps.

    The last steps of an episode give transitions over fewer steps, as many as are left.

    Args:
        n: Number of rewards that are summed.
        gamma: Discount factor.
        terminal_mask: Whether nothing is expected after a terminal state.
    """

    def __init__(self, n: int, gamma: float, *, terminal_mask: bool) -> None:
        self.n = n
        self.gamma = gamma
        self.terminal_mask = terminal_mask
        self.steps: deque[tuple[np.ndarray, int, float]] = deque()

    def after(
        self,
        step: tuple[np.ndarray, int, float],
        following: np.ndarray,
        *,
        terminated: bool,
        ended: bool,
    ) -> list[Transition]:
        """Returns the transitions that are complete after a step.

        Args:
            step: Observation, action and reward.
            following: The observation after the step.
            terminated: Whether a terminal state was reached, after which there are no rewards.
            ended: Whether the episode is over, by a terminal state or because it was cut off.
        """
        self.steps.append(step)
        value = 0.0 if terminated and self.terminal_mask else 1.0
        found = []
        while self.steps and (ended or len(self.steps) == self.n):
            discount = value * self.gamma ** len(self.steps)
            rewards = sum(self.gamma**k * reward for k, (_, _, reward) in enumerate(self.steps))
            observation, action, _ = self.steps.popleft()
            found.append((observation, action, rewards, discount, following))
        return found


class Experience:
    """The steps of an environment, one episode after the other.

    Args:
        environment: The environment.
        seed: Seed of its first episode, from which those of the others follow.
        past: Makes transitions of the steps.

    Attributes:
        observation: What is observed now, (observations,) float32.
        returns: Return of each episode that has ended.
    """

    def __init__(
        self, environment: gym.Env[np.ndarray, int], seed: int, past: NStepReturns
    ) -> None:
        self.environment = environment
        self.past = past
        self.observation, _ = environment.reset(seed=seed)
        self.total = 0.0
        self.returns: list[float] = []

    def step(self, action: int, *, is_last: bool) -> list[Transition]:
        """Takes a step, and returns the transitions that are complete after it.

        Args:
            action: The action.
            is_last: Whether the episode is cut off here.
        """
        following, reward, terminated, truncated, _ = self.environment.step(action)
        ended = terminated or truncated
        self.total += float(reward)
        taken = (self.observation, action, float(reward))
        made = self.past.after(taken, following, terminated=terminated, ended=ended or is_last)
        self.observation = following
        if ended:
            self.returns.append(self.total)
            self.observation, self.total = self.environment.reset()[0], 0.0
        return made


class Replay:
    """The latest transitions, in memory that is allocated whole, on the CPU.

    Args:
        size: Number of transitions that are kept.
        observations: Number of numbers in an observation.
    """

    def __init__(self, size: int, observations: int) -> None:
        self.size = size
        self.kept = Transitions(
            observations=torch.zeros(size, observations),
            actions=torch.zeros(size, dtype=torch.int64),
            rewards=torch.zeros(size),
            discounts=torch.zeros(size),
            next_observations=torch.zeros(size, observations),
        )
        self.arrays = [tensor.numpy() for tensor in vars(self.kept).values()]
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, self.size)

    def add(self, transition: Transition) -> None:
        """Adds a transition, in place of the oldest if there is no room."""
        place = self.added % self.size
        for array, value in zip(self.arrays, transition, strict=True):
            array[place] = value
        self.added += 1

    def sample(self, count: int, generator: torch.Generator, device: torch.device) -> Transitions:
        """Draws transitions, each one of those that are kept with the same probability."""
        rows = torch.randint(len(self), (count,), generator=generator)
        drawn = (tensor.index_select(0, rows).to(device) for tensor in vars(self.kept).values())
        return Transitions(*drawn)

    def state(self) -> dict[str, Any]:
        """Returns a copy of everything that is kept."""
        return {"added": self.added, "kept": deepcopy(vars(self.kept))}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Replaces everything that is kept by a state of a replay of the same size."""
        self.added = state["added"]
        for name, tensor in vars(self.kept).items():
            tensor.copy_(state["kept"][name])
