"""The cores of a world model beside each other: speed, and error after equal processor time.

    python benchmarks/driving_cores.py

The default configuration with each core, on one thread of a CPU. First in turns: frames a second
in training, and in a dream, a free-running rollout of one drive after its context. Then each is
trained for equally long, with as many epochs as it has time for, and rolled out on the test
episodes. Time is that of the processor, evaluations left out. The drives are the default ones of
`studies/world_model_sweep.py`; the whole takes about 20 minutes.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import get_args

import torch

from analysis.markdown import table
from analysis.rollout_scores import dream
from analysis.style import CORES
from benchmarks.command_line import Parser, exit_code, positive
from benchmarks.document import spread as over_seeds
from benchmarks.driving_results import scores
from benchmarks.rounds import machine, ratios, spread, take_turns
from datasets.driving import EPISODES, Drives, DrivingOptions, open_drives
from trainables.device import pick_device as trial_device
from trainables.driving import DrivingTask, judged_horizon
from trainables.fit import Epoch, fit
from trainables.models.world_model import Core, WorldModel, WorldModelConfig
from trainables.rollout import CONTEXT, autoregressive

CPU = torch.device("cpu")

BASELINE: Core = "builtin"
"""The core whose speed the others are compared with."""


class Unjudged(DrivingTask):
    """A task whose epochs are training alone."""

    def evaluate(self, model: torch.nn.Module) -> dict[str, float]:
        """Measures nothing."""
        del model
        return {}


def trained(data: Drives, config: WorldModelConfig) -> tuple[Iterator[Epoch], int]:
    """Makes a fit ready; returns its epochs and the number of frames of each."""
    task = Unjudged(data, config, CPU)
    return fit(task, config, CPU), task.predictions_per_epoch()


def timed_fit(data: Drives, config: WorldModelConfig) -> tuple[float, Epoch]:
    """Trains a configuration; returns its processor time and the last epoch."""
    epochs, _ = trained(data, config)
    begun = time.process_time()
    *_, last = epochs
    return time.process_time() - begun, last


def training(data: Drives, rounds: int) -> dict[str, Callable[[], float]]:
    """Core -> trains an epoch and returns frames a second."""

    def rate_of(core: Core) -> Callable[[], float]:
        epochs, frames = trained(data, WorldModelConfig(core=core, epochs=rounds + 1))
        return lambda: frames / seconds_of(epochs)

    return {core: rate_of(core) for core in get_args(Core)}


def seconds_of(epochs: Iterator[Epoch]) -> float:
    """Trains an epoch and returns its processor time."""
    begun = time.process_time()
    next(epochs)
    return time.process_time() - begun


def dreaming(data: Drives) -> dict[str, Callable[[], float]]:
    """Core -> dreams a drive and returns frames a second; what is dreamt does not matter."""
    drives, horizon = data.recordings, judged_horizon(data)
    begin = int(drives.window_starts(data.split.validation, CONTEXT + horizon)[0])
    some = slice(begin, begin + CONTEXT + horizon)
    frames = torch.from_numpy(drives.frames[some][None, :CONTEXT]).float() / 255
    actions = torch.tensor(drives.actions[some][None])

    @torch.no_grad()
    def rate(model: WorldModel) -> float:
        begun = time.process_time()
        autoregressive(model, frames, actions, horizon)
        return horizon / (time.process_time() - begun)

    def rate_of(core: Core) -> Callable[[], float]:
        model = WorldModel(WorldModelConfig(core=core), drives.size).eval()
        return lambda: rate(model)

    return {core: rate_of(core) for core in get_args(Core)}


HEADER = [
    *("core", "parameters", "training", "ratio", "dreaming", "ratio", "epochs", "seconds"),
    *("one-step, of persistence", "free-running, of freeze", "of climatology"),
    "horizons below both",
]


def rows(
    data: Drives, rates: Sequence[Mapping[str, Sequence[float]]], seconds: int, seeds: int
) -> Iterator[list[str]]:
    """Yields the row of each core in the table, as soon as it is trained.

    Args:
        data: The drives.
        rates: Core -> frames a second in each round, for training and for dreaming.
        seconds: Of training, about; with at least one epoch.
        seeds: Number of trainings of a core.
    """
    for core in get_args(Core):
        config = WorldModelConfig(core=core)
        model = WorldModel(config, data.recordings.size)
        row = [CORES[core], f"{sum(weights.numel() for weights in model.parameters()):,}"]
        for found in rates:
            row += [spread(found[core]), spread(ratios(found[core], found[BASELINE]))]
        _, frames = trained(data, config)
        config = replace(config, epochs=max(1, round(seconds * median(rates[0][core]) / frames)))
        fits = [_fitted(data, replace(config, seed=seed)) for seed in range(1, seeds + 1)]
        spent, *errors, below = zip(*fits, strict=True)
        cells = [over_seeds(found, 3) for found in errors]
        yield [
            *row,
            str(config.epochs),
            over_seeds(spent, 0),
            *cells,
            over_seeds(below, 0),
        ]


def _fitted(data: Drives, config: WorldModelConfig) -> tuple[float, float, float, float, int]:
    """Trains a configuration; returns seconds, errors as shares of the baselines', and the number
    of horizons at which its dreams are below freeze and climatology."""
    spent, last = timed_fit(data, config)
    found = scores(dream(last.model, data))
    return (
        spent,
        found["one_step"],
        found["free_mean"],
        found["free_mean_of_climatology"],
        found["below_both"],
    )


def main(argv: Sequence[str]) -> None:
    """Prints the table.

    Raises:
        InputError: If the options make no sense.
    """
    typed = _parsed(argv)
    trial_device(0, 1)
    options = DrivingOptions(episodes=typed.episodes, steps=typed.steps)
    data = open_drives(options, 0, typed.data_dir)
    print(f"{machine(CPU)}, 1 thread; {len(data.recordings)} episodes")
    print(
        f"frames a second of the processor, median (smallest..largest) of {typed.rounds}; errors "
        f"on the test episodes after about {typed.seconds} s of training\n",
        flush=True,
    )
    rates = [
        take_turns(sides, typed.rounds) for sides in (training(data, typed.rounds), dreaming(data))
    ]
    made = []
    for row in rows(data, rates, typed.seconds, typed.seeds):
        print(f"{row[0]}: trained", file=sys.stderr)
        made.append(row)
    print(table(HEADER, made))


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_defaulting("--episodes", positive, EPISODES, "drives")
    parser.add_defaulting("--steps", positive, 160, "frames of each drive")
    parser.add_data_dir()
    parser.add_rounds(3, "epochs, and dreams, that are timed")
    parser.add_defaulting("--seconds", positive, 100, "of training before errors are compared")
    parser.add_defaulting("--seeds", positive, 2, "trainings of each core that are compared")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
