"""Does this project's deep Q-learning learn what Stable-Baselines3's learns?

    pip install -e ".[reference]" -c constraints.txt
    python benchmarks/cartpole_reference.py

trains both with the hyperparameters that rl-baselines3-zoo gives DQN on CartPole-v1, from the same
number of seeds, and plays greedily after every 1,000 steps on the same 100 seeds. They draw
different random numbers, so that single curves differ; what is compared is the return at each
point against the spread of the reference's seeds.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats

from analysis.markdown import table
from benchmarks.cartpole_play import Run, mean_return, trained
from benchmarks.command_line import Parser, at_least_two, exit_code, positive
from datasets.errors import InputError
from trainables.cartpole import make_environment, zoo
from trainables.dqn import EPOCH, DQNConfig

FIRST_SEED = 2_000
"""Seed of the first training on either side."""

SHOWN = 5
"""Epochs between two rows of the table."""


def reference(seeds: Sequence[int], epochs: int) -> Iterator[Run]:
    """Trains Stable-Baselines3's DQN from each seed, on the CPU.

    Raises:
        InputError: If Stable-Baselines3 is not installed.
    """
    try:
        from stable_baselines3 import DQN  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            'Stable-Baselines3 is not installed: pip install -e ".[reference]" -c constraints.txt'
        ) from None
    for seed in seeds:
        model = DQN("MlpPolicy", make_environment(), seed=seed, device="cpu", **theirs(epochs))
        found: list[float] = []

        def play(*_: Any, model: Any = model, found: list[float] = found) -> bool:
            if model.num_timesteps % EPOCH == 0:
                found.append(mean_return(model.q_net))
            return True

        model.learn(epochs * EPOCH, callback=play)
        yield Run(seed, np.array(found))


def theirs(epochs: int) -> dict[str, Any]:
    """Returns the arguments of Stable-Baselines3 that mean what `trainables.cartpole.zoo` does."""
    config = DQNConfig(**zoo("dqn"))
    return {
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size,
        "buffer_size": config.replay_size,
        "learning_starts": config.learning_starts,
        "gamma": config.gamma,
        "target_update_interval": config.target_every,
        "train_freq": config.update_every,
        "gradient_steps": round(config.update_every * config.updates_per_step),
        "exploration_fraction": config.exploration_steps / (epochs * EPOCH),
        "exploration_final_eps": config.exploration_end,
        "policy_kwargs": {"net_arch": [config.width] * config.layers},
    }


def verdict(ours: Sequence[Run], reference: Sequence[Run]) -> str:
    """Says by how much the areas under the curves differ, of means over seeds."""
    areas = [np.array([run.returns.mean() for run in runs]) for runs in (ours, reference)]
    found = " and ".join(f"{each.mean():.0f} ± {each.std(ddof=1):.0f}" for each in areas)
    _, p = stats.ttest_ind(*areas, equal_var=False)
    return f"mean return over all points, ours and theirs: {found} (Welch's t-test: p = {p:.2f})"


def main(argv: Sequence[str]) -> None:
    """Prints the table.

    Raises:
        InputError: If Stable-Baselines3 is not installed.
    """
    typed = _parsed(argv)
    torch.set_num_threads(1)  # as in a trial of a study
    seeds = range(FIRST_SEED, FIRST_SEED + typed.seeds)
    their_runs = list(reference(seeds, typed.epochs))
    our_runs = list(trained(DQNConfig(**zoo("dqn"), epochs=typed.epochs), seeds))
    print(f"mean greedy return over {typed.seeds} seeds (least..greatest)\n")
    print(table(("steps", "ours", "Stable-Baselines3"), rows(our_runs, their_runs)))
    print(verdict(our_runs, their_runs))


def rows(ours: Sequence[Run], reference: Sequence[Run]) -> list[list[str]]:
    """Makes a row for every `SHOWN` epochs."""
    sides = [np.stack([run.returns for run in runs]) for runs in (ours, reference)]
    return [
        [f"{EPOCH * epoch:,}", *(_spread(side[:, epoch - 1]) for side in sides)]
        for epoch in range(SHOWN, sides[0].shape[1] + 1, SHOWN)
    ]


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.0f} ({values.min():.0f}..{values.max():.0f})"


def _parsed(argv: Sequence[str]) -> Namespace:
    line = Parser(__doc__)
    line.add_defaulting("--seeds", at_least_two, 5, "number of trainings on either side")
    line.add_defaulting("--epochs", positive, 50, "thousands of steps of each")
    return line.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
