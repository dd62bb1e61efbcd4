"""From how many steps on do a study's champion, the default and the zoo's configuration balance?

    python benchmarks/cartpole_curves.py cartpole

trains each from seeds that the study did not use, plays greedily after every 1,000 steps on 100
seeds that no study uses, and prints the steps from which on each training stays at 500, and at 475
or more. It draws docs/images/cartpole_curves.png.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import torch
from matplotlib.figure import Figure

from analysis import style
from analysis.command_line import add_runs_dir
from analysis.markdown import table
from benchmarks.cartpole_play import FRESH, Run, median_steps, paint, steps_text, trained
from benchmarks.command_line import Parser, exit_code, positive
from benchmarks.document import IMAGES
from datasets.errors import InputError
from datasets.typed_paths import typed_path
from record.folder import StudyFolder
from record.reading import recorded_study
from record.tracking_uri import tracking_uri
from record.values import made_of
from trainables.cartpole import LONGEST, zoo
from trainables.dqn import DQNConfig

LEVELS = (500.0, 475.0)
"""Returns at which a training is to stay: the highest one, and Gymnasium's for a solved task."""

FIRST_SEED = 1_000
"""Seed of the first training; those of a study's trials are lower."""

LOOKS = {
    "champion": (style.BLUE, "-"),
    "default": (style.ORANGE, ":"),
    "zoo": (style.VERMILLION, "-."),
}
"""Configuration -> colour and dashes of its curve."""


def rows(name: str, runs: Sequence[Run]) -> list[list[str]]:
    """Makes the rows of some runs, and that of their median."""
    found = [
        [name, str(run.seed), *(steps_text(run.stays(least)) for least in LEVELS)] for run in runs
    ]
    medians = [median_steps(runs, least) for least in LEVELS]
    told = [steps_text(None if each == float("inf") else int(each)) for each in medians]
    return [*found, [name, "median", *told]]


def draw(made: Mapping[str, Sequence[Run]]) -> Figure:
    """Draws the curves of all configurations."""
    with matplotlib.rc_context(style.LOOK):
        figure = Figure((6.0, 3.0), layout="constrained")
        axis = figure.subplots()
        axis.axhline(LONGEST, color=style.GREY, ls="--", lw=1)
        for name, runs in made.items():
            paint(axis, runs, *LOOKS[name], name)
        axis.set(xlabel="environment steps", ylabel="greedy return (steps)", ylim=(0, 520))
        axis.legend(loc="lower right")
        return figure


def champion(typed: Namespace) -> DQNConfig:
    """Returns the configuration of a study's champion.

    Raises:
        InputError: If there is no such study, or it has no finals.
    """
    folder = StudyFolder(typed.runs_dir, typed.study)
    study = recorded_study(folder, tracking_uri(typed.runs_dir)).in_mlflow()
    if study.champion is None:
        raise InputError(f"{study.name} has no finals: expected a study that has ended")
    return made_of(DQNConfig, study.champion.config)


def main(argv: Sequence[str]) -> None:
    """Prints the table, and draws the figure.

    Raises:
        InputError: If the study has no champion.
    """
    typed = _parsed(argv)
    torch.set_num_threads(1)  # as in a trial of a study
    configs = {
        "champion": champion(typed),
        "default": DQNConfig(),
        "zoo": DQNConfig(**zoo("dqn")),
    }
    seeds = range(FIRST_SEED, FIRST_SEED + typed.seeds)
    print("\n".join(f"{name}: {config}" for name, config in configs.items()), end="\n\n")
    made = {name: list(trained(config, seeds)) for name, config in configs.items()}
    header = ["configuration", "seed", *(f"stays at {least:.0f} from" for least in LEVELS)]
    print(f"mean of {len(FRESH)} greedy episodes after every 1,000 steps; steps\n")
    print(table(header, [row for name, runs in made.items() for row in rows(name, runs)]))
    print(style.picture(draw(made), typed.images / "cartpole_curves"))


def _parsed(argv: Sequence[str]) -> Namespace:
    line = Parser(__doc__)
    line.add_argument("study", metavar="NAME", help="name of the study")
    line.add_defaulting("--seeds", positive, 5, "number of trainings of each configuration")
    line.add_defaulting("--images", typed_path, Path(IMAGES), "where the figure goes")
    add_runs_dir(line)
    return line.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
