"""Training frames a second of a world model: the homework's loop, and LSTMs on whole windows.

    python benchmarks/driving_step.py
    python benchmarks/driving_step.py --seconds 120

The homework's configuration three times, on the same windows in the same order, at equal batch and
hidden size, the sides in turn, epoch by epoch: the homework's way, a Python loop over the steps of
a window with a step of the optimiser after each, which lets gradients flow through that one step
only; torch's LSTM on whole windows, with full back-propagation; and the LSTM of this project,
written from its equations. Evaluation is left out on all sides.

``--seconds`` then trains the homework's loop and our default configuration for that long each, and
compares their errors on the test episodes. The drives are those of docs/results-driving.md.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import torch
from torch import nn
from torch.nn import functional

from analysis.markdown import table
from analysis.rollout_scores import dream
from benchmarks.command_line import Parser, exit_code, not_negative, positive
from benchmarks.rounds import machine, ratios, spread, take_turns, verdict
from datasets.driving import EPISODES, Drives, DrivingOptions, open_drives
from trainables.device import pick_device as trial_device
from trainables.driving import DrivingTask
from trainables.fit import fit
from trainables.models.world_model import Core, WorldModelConfig, homework

LOOP, BUILTIN, SCRATCH = "the homework's loop", "torch.nn.LSTM", "LSTM from scratch"

WANTED = 0.7
"""Share of the speed of torch's LSTM that the one from scratch has to reach."""


class StepLoop:
    """The homework's way of training.

    Args:
        task: With the homework's configuration.
        device: Where it trains.
    """

    def __init__(self, task: DrivingTask, device: torch.device) -> None:
        torch.manual_seed(task.config.seed)
        self.task = task
        self.model = task.model().to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=task.config.learning_rate)
        self.order = torch.Generator().manual_seed(task.config.seed)

    def train_epoch(self, deadline: float = float("inf")) -> None:
        """Trains on as many windows as hold the train split once, or as there is time for.

        Args:
            deadline: ``time.perf_counter()`` after which no other batch is begun.
        """
        for batch in self.task.training_batches(self.model, self.order, epoch=1):
            if time.perf_counter() >= deadline:
                return
            state = None
            for step in range(batch.actions.shape[1]):
                seen = batch.frames[:, step : step + 1], batch.actions[:, step : step + 1]
                predicted, state = self.model(*seen, state)
                loss = functional.mse_loss(predicted, batch.frames[:, step + 1 : step + 2])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                state = tuple(part.detach() for part in state)


def homework_task(data: Drives, core: Core, epochs: int, device: torch.device) -> DrivingTask:
    """The homework's configuration with either core."""
    fields = homework(core) | {"epochs": epochs}
    return DrivingTask(data, WorldModelConfig(**fields), device)  # pyright: ignore[reportArgumentType]


def measures(data: Drives, device: torch.device, rounds: int) -> dict[str, Callable[[], float]]:
    """Side -> trains an epoch and returns frames a second."""
    loop = StepLoop(homework_task(data, "builtin", rounds + 1, device), device)
    frames = loop.task.predictions_per_epoch()

    def by_steps() -> float:
        """Trains an epoch in the homework's way."""
        begun = time.perf_counter()
        loop.train_epoch()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return frames / (time.perf_counter() - begun)

    def on_windows(core: Core) -> Callable[[], float]:
        """Makes a fit ready that trains on whole windows."""
        task = homework_task(data, core, rounds + 1, device)
        epochs = fit(task, task.config, device)
        return lambda: frames / next(epochs).metrics["train/seconds"]

    return {LOOP: by_steps, BUILTIN: on_windows("builtin"), SCRATCH: on_windows("scratch")}


def after_equal_time(data: Drives, device: torch.device, seconds: float) -> list[list[str]]:
    """Test errors of the homework's loop and of our default configuration: rows of a table."""
    loop = StepLoop(homework_task(data, "builtin", 1, device), device)
    begun = time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds:
        loop.train_epoch(begun + seconds)
    rows = [_errors(LOOP, loop.model, data, spent)]

    config = WorldModelConfig()
    task = DrivingTask(data, config, device)
    first = next(fit(task, config, device)).metrics["train/seconds"]
    config = replace(config, epochs=max(1, int(seconds / first)))
    epochs = list(fit(DrivingTask(data, config, device), config, device))
    spent = sum(epoch.metrics["train/seconds"] for epoch in epochs)
    return [*rows, _errors(f"ours, {config.title}", epochs[-1].model, data, spent)]


def _errors(name: str, model: nn.Module, data: Drives, seconds: float) -> list[str]:
    """Test errors of a model that was trained for so long: a row of the table."""
    made = dream(model.cpu().eval(), data)
    return [
        name,
        f"{seconds:.0f}",
        f"{made.error('teacher_forced').mean():.3g}",
        f"{made.share('teacher_forced', 'persistence'):.3f}",
        f"{made.error('autoregressive').mean():.3g}",
        f"{made.share('autoregressive', 'freeze'):.3f}",
    ]


def main(argv: Sequence[str]) -> None:
    """Prints the tables.

    Raises:
        InputError: If the options make no sense.
    """
    arguments = _parsed(argv)
    device = arguments.device
    trial_device(int(device.type == "cuda"), arguments.threads)
    options = DrivingOptions(episodes=arguments.episodes, steps=arguments.steps)
    data = open_drives(options, 0, arguments.data_dir)
    print(
        f"{machine(device)}, {arguments.threads} thread(s); {len(data.recordings)} episodes, "
        f"{len(data.split.train)} to train on"
    )
    measured = take_turns(measures(data, device, arguments.rounds), arguments.rounds)
    print(f"training frames a second, median (smallest..largest) of {arguments.rounds} epochs\n")
    rows = [
        [name, spread(rates), spread(ratios(rates, measured[BUILTIN]))]
        for name, rates in measured.items()
    ]
    print(table(["training", "frames a second", f"ratio to {BUILTIN}"], rows), end="\n\n")
    reached = median(ratios(measured[SCRATCH], measured[BUILTIN]))
    print(verdict(SCRATCH, reached, WANTED))
    if arguments.seconds:
        print(f"\nerrors on the test episodes after {arguments.seconds} s of training each\n")
        header = ["", "seconds", "one-step MSE", "of persistence", "free-running MSE", "of freeze"]
        print(table(header, after_equal_time(data, device, arguments.seconds)))


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_defaulting("--episodes", positive, EPISODES, "drives")
    parser.add_defaulting("--steps", positive, 160, "frames of each drive")
    parser.add_data_dir()
    parser.add_defaulting("--threads", positive, 1, "threads of torch")
    parser.add_rounds(5, "epochs that are timed")
    parser.add_argument(
        "--seconds",
        type=not_negative,
        default=0,
        help="of training before test errors are compared; 0: they are not (default)",
    )
    parser.add_device()
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
