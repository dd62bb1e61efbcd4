"""The cores of a world model beside each other: speed, and error after equal processor time.

    python benchmarks/driving_cores.py
    python benchmarks/driving_cores.py --seconds 20 --seeds 2

The default configuration with each core, on one thread of a CPU, the cores in turn: frames of
training windows a second in training, and frames a second in a dream, a free-running rollout of
one drive after its context. Then each is trained for equally long, with as many epochs as it has
time for, and rolled out on the test episodes. Time is that of the processor, evaluations left out.
The drives are those of docs/results-driving.md.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import get_args

import torch

from analysis.markdown import table
from analysis.rollout_scores import dream
from analysis.style import CORES
from benchmarks.command_line import Parser, exit_code, not_negative, positive
from benchmarks.document import spread as over_seeds
from benchmarks.rounds import machine, ratios, spread, take_turns
from datasets.driving import Drives, DrivingOptions, open_drives
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


def speed_rows(data: Drives, rates: Sequence[Mapping[str, Sequence[float]]]) -> list[list[str]]:
    """Makes the rows of the table of speeds.

    Args:
        data: The drives.
        rates: Core -> frames a second in each round, for training and for dreaming.
    """
    rows = []
    for core in get_args(Core):
        model = WorldModel(WorldModelConfig(core=core), data.recordings.size)
        row = [CORES[core], f"{sum(weights.numel() for weights in model.parameters()):,}"]
        for found in rates:
            row += [spread(found[core]), spread(ratios(found[core], found[BASELINE]))]
        rows.append(row)
    return rows


def error_rows(
    data: Drives, rates: Mapping[str, Sequence[float]], seconds: int, seeds: int
) -> Iterator[list[str]]:
    """Trains each core for about so many seconds on each seed; yields the rows of the table of
    errors on the test episodes."""
    for core in get_args(Core):
        _, frames = trained(data, WorldModelConfig(core=core))
        epochs = max(1, round(seconds * median(rates[core]) / frames))
        fits = [
            _errors(data, WorldModelConfig(core=core, epochs=epochs, seed=seed))
            for seed in range(1, seeds + 1)
        ]
        spent, *errors = zip(*fits, strict=True)
        cells = [over_seeds(found, 3) for found in errors]
        yield [CORES[core], str(epochs), over_seeds(spent, 0), *cells]


def _errors(data: Drives, config: WorldModelConfig) -> tuple[float, float, float, float]:
    """Trains a configuration; returns seconds, and its errors as shares of the baselines'."""
    epochs, _ = trained(data, config)
    begun = time.process_time()
    last = _last(epochs)
    spent = time.process_time() - begun
    made = dream(last.model, data)
    return (
        spent,
        made.share("teacher_forced", "persistence"),
        made.share("autoregressive", "freeze"),
        made.share("autoregressive", "climatology"),
    )


def _last(epochs: Iterable[Epoch]) -> Epoch:
    *_, last = epochs
    return last


def main(argv: Sequence[str]) -> None:
    """Prints the tables.

    Raises:
        InputError: If the options make no sense.
    """
    typed = _parsed(argv)
    trial_device(0, 1)
    options = DrivingOptions(
        drawing="gymnasium", episodes=typed.episodes, steps=typed.steps, split="random"
    )
    data = open_drives(options, 0, typed.data_dir)
    print(f"{machine(CPU)}, 1 thread; {len(data.recordings)} episodes")
    rates = take_turns(training(data, typed.rounds), typed.rounds)
    dreams = take_turns(dreaming(data), typed.rounds)
    print(f"frames a second of the processor, median (smallest..largest) of {typed.rounds}\n")
    header = ["core", "parameters", "training", "ratio", "dreaming", "ratio"]
    print(table(header, speed_rows(data, [rates, dreams])))
    if typed.seconds:
        print(f"\nerrors on the test episodes after {typed.seconds} s of training each\n")
        header = ["core", "epochs", "seconds", "one-step, of persistence"]
        header += ["free-running, of freeze", "of climatology"]
        print(table(header, [*error_rows(data, rates, typed.seconds, typed.seeds)]))


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_defaulting("--episodes", positive, 64, "drives")
    parser.add_defaulting("--steps", positive, 160, "frames of each drive")
    parser.add_data_dir()
    parser.add_rounds(5, "epochs, and dreams, that are timed")
    parser.add_argument(
        "--seconds",
        type=not_negative,
        default=0,
        help="of training before test errors are compared; 0: they are not (default)",
    )
    parser.add_defaulting("--seeds", positive, 1, "trainings of each core that are compared")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
