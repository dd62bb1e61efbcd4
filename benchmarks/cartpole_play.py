"""Trains deep Q-learning on CartPole and plays it greedily on seeds that no study uses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import nn

from trainables.cartpole import CartPole, greedy, play, returns
from trainables.dqn import EPOCH, DQNConfig, DQNLearner, solved_since

FRESH = range(300_000, 300_100)
"""Seeds of the episodes that are played after each epoch; neither of validation nor of test."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Run:
    """The mean greedy return on the fresh seeds after each 1,000 steps of one training.

    Attributes:
        seed: Seed of the training.
        returns: (epochs,) float64.
    """

    seed: int
    returns: np.ndarray

    def stays(self, least: float) -> int | None:
        """Returns the steps from which on no return is below `least`; None if the last one is."""
        if self.returns[-1] < least:
            return None
        return solved_since(self.returns.tolist(), least)


def trained(config: DQNConfig, seeds: Sequence[int]) -> Iterator[Run]:
    """Trains a configuration from each seed, and plays after each epoch."""
    for seed in seeds:
        learner = DQNLearner(replace(config, seed=seed), CartPole(), CPU)
        found = []
        for epoch in range(1, config.epochs + 1):
            learner.advance(epoch)
            found.append(mean_return(learner.evaluator))
        yield Run(seed, np.array(found))


def mean_return(network: nn.Module) -> float:
    """Plays a network greedily from each of the fresh seeds, and returns the mean return."""
    return float(returns(play(greedy(network), FRESH)).mean())


def steps_text(steps: int | None) -> str:
    """Returns a number of steps as text; ``not`` for None."""
    return "not" if steps is None else f"{steps:,}"


def median_steps(runs: Sequence[Run], least: float) -> float:
    """Returns the median of the steps from which on runs stay at `least` or more; infinite if half
    of them do not."""
    found = [run.stays(least) for run in runs]
    return median(float("inf") if steps is None else steps for steps in found)


def paint(axis: Axes, runs: Sequence[Run], color: str, dashes: str, name: str) -> None:
    """Draws the mean of some runs, and from the least to the greatest of them."""
    values = np.stack([run.returns for run in runs])
    steps = EPOCH * np.arange(1, values.shape[1] + 1)
    axis.fill_between(steps, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2, lw=0)
    axis.plot(steps, values.mean(axis=0), color=color, ls=dashes, label=name)
