"""Measures what recording costs the driver: our log and MLflow beside MLflowLoggerCallback.

    python benchmarks/recording_cost.py

Both record the same trials and epochs on a fresh sqlite database each, in turn, in this process;
no trial trains. Our figures include the log, flushed to the disk, and Optuna (ask, tell); the
other's do not. Ray's callback is handed what Tune hands it: the result with Tune's own entries.

MLflow is told in the background, several epochs together, every few seconds and when a trial
ends; a report costs the driver a list entry. Here, where no time passes between two epochs, the
background is waited for at the end of each trial and counted with its end. The row "at once" has
the log flushed and waits for MLflow after every epoch, the most that recording can cost, as when
an epoch takes longer than those seconds.
"""

import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback

from analysis.markdown import table
from benchmarks.command_line import Parser, exit_code, positive
from benchmarks.driven_study import DrivenStudy
from engine.driver import Nothing
from engine.space import Space
from record.folder import StudyFolder
from trainables.message import Message
from trainables.models.gnn import GNNConfig

METRICS = {
    "validation/loss": 0.5,
    "validation/mse": 0.6,
    "validation/mae": 0.4,
    "validation/r2": 0.7,
    "train/loss": 0.3,
    "train/seconds": 1.2,
    "train/learning_rate": 1e-3,
    "memory_gib": 0.5,
}
"""Metrics that an epoch of the GNN study reports; the values do not matter."""

HERE = {"node": "here", "process": 1, "device": "cpu", "processor": "any", "threads": "1"}
"""A place where nothing was trained."""

ALLOWED = 10.0
"""Milliseconds of the driver a report that the project allows itself on sqlite."""


class Stopwatch:
    """Adds up the time that is spent while it runs."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Runs for as long as the block does."""
        begun = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begun


class Reporter(tune.Trainable):
    """Gives the results that Tune would: ours, with Tune's own entries."""

    def step(self) -> dict[str, Any]:
        """Gives our part of a result."""
        return {**METRICS, "epoch": self.training_iteration + 1, **HERE}


class FakeTrial:
    """A trial with as much of Tune's Trial as the callback looks at."""

    def __init__(self, number: int) -> None:
        self.trial_id = f"{number:05d}"
        self.config = vars(GNNConfig())

    def __str__(self) -> str:
        return f"trial_{self.trial_id}"


def ours(folder: Path, trials: int, epochs: int, at_once: bool) -> tuple[float, float]:
    """Records trials as a study of ours does.

    Args:
        folder: For everything of it.
        trials: How many.
        epochs: Of each.
        at_once: Whether log and MLflow are waited for after every epoch.

    Returns:
        Seconds in reports, and in beginnings and endings of trials.
    """
    space = Space.of(GNNConfig, "family", {"epochs": [epochs]})
    study = DrivenStudy(StudyFolder(folder, "cost"), space, trials)
    reports, lives = Stopwatch(), Stopwatch()
    for _ in range(trials):
        with lives.running():
            trial = study.driver.next()
            assert not isinstance(trial, Nothing)
            study.driver.begin(trial)
            study.driver.placed(trial.number)
            study.deliver()
        for epoch in range(1, epochs + 1):
            row = {**METRICS, "epoch": epoch, "unix_ms": epoch}
            name = f"session-0001/trial-0/checkpoint_{epoch}"
            message = Message(trial.number, (row,), checkpoint=name, where=HERE)
            with (reports if epoch < epochs else lives).running():  # the last one ends the trial
                study.driver.heard(message)
                if at_once or epoch == epochs:
                    study.deliver()
    study.close()
    return reports.seconds, lives.seconds


def rays(folder: Path, trials: int, epochs: int) -> tuple[float, float]:
    """Records trials by `MLflowLoggerCallback`; takes and returns what `ours` does."""
    folder.mkdir()
    callback = MLflowLoggerCallback(f"sqlite:///{folder / 'rays.db'}", experiment_name="cost")
    callback.setup()
    reports, lives = Stopwatch(), Stopwatch()
    for number in range(trials):
        trial: Any = FakeTrial(number)
        source = Reporter()
        with lives.running():
            callback.log_trial_start(trial)
        for epoch in range(1, epochs + 1):
            result = source.train()
            with reports.running():
                callback.log_trial_result(epoch, trial, result)
        with lives.running():
            callback.log_trial_end(trial)
    return reports.seconds, lives.seconds


def milliseconds(
    measured: Sequence[tuple[float, float]], trials: int, epochs: int
) -> tuple[float, float, float]:
    """Medians of rounds: a report, a trial's begin and end, and all of it by the report, in ms."""
    reports, lives = map(median, zip(*measured, strict=True))
    count = trials * epochs
    return 1e3 * reports / count, 1e3 * lives / trials, 1e3 * (reports + lives) / count


def main(argv: Sequence[str]) -> None:
    """Prints the table."""
    typed = _parsed(argv)
    trials, epochs = typed.trials, typed.epochs
    recorders = {
        "ours": partial(ours, at_once=False),
        "ours, at once": partial(ours, at_once=True),
        "MLflowLoggerCallback": rays,
    }
    measured = {name: [] for name in recorders}
    for _ in range(typed.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, recorder in recorders.items():
                measured[name].append(recorder(Path(folder) / name, trials, epochs))
    costs = {name: milliseconds(measured[name], trials, epochs) for name in recorders}
    print(f"{trials} trials x {epochs} epochs on sqlite, median of rounds, ms\n")
    header = ("recorder", "a report", "a trial's begin and end", "all of it, a report")
    rows = [[name, f"{a:.2f}", f"{b:.1f}", f"{c:.2f}"] for name, (a, b, c) in costs.items()]
    print(table(header, rows), end="\n\n")
    total = {name: cost[-1] for name, cost in costs.items()}
    print(f"ratio to ours: {total['MLflowLoggerCallback'] / total['ours']:.1f}")
    met = "within" if total["ours, at once"] <= ALLOWED else "beyond"
    print(f"{met} the {ALLOWED:g} ms a report that the project allows itself")


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_defaulting("--trials", positive, 16, "trials that are recorded")
    parser.add_defaulting("--epochs", positive, 20, "epochs of each trial")
    parser.add_rounds(3, "how often they take turns")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
