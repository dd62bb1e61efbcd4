"""What recording costs the driver: our log and MLflow beside Ray's MLflowLoggerCallback.

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

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback

from benchmarks.driven_study import DrivenStudy
from benchmarks.rounds import positive
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
"""What an epoch of the GNN study reports; the values do not matter."""

HERE = {"node": "here", "process": 1, "device": "cpu", "processor": "any", "threads": "1"}
"""And of where it was trained."""

ALLOWED = 10.0
"""Milliseconds of the driver a report that the project allows itself on sqlite."""


class Stopwatch:
    """Adds up the time spent inside."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begun


class Reporter(tune.Trainable):
    """Gives the results that Tune would: ours, with Tune's own entries."""

    def step(self) -> dict[str, Any]:
        return {**METRICS, "epoch": self.training_iteration + 1, **HERE}


class FakeTrial:
    """As much of Tune's Trial as the callback looks at."""

    def __init__(self, number: int) -> None:
        self.trial_id = f"{number:05d}"
        self.config = vars(GNNConfig())

    def __str__(self) -> str:
        return f"trial_{self.trial_id}"


def ours(folder: Path, trials: int, epochs: int, at_once: bool) -> tuple[float, float]:
    """Seconds in reports, and in beginnings and endings of trials, ours."""
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
    """The same of `MLflowLoggerCallback`."""
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


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=positive, default=16)
    parser.add_argument("--epochs", type=positive, default=20)
    parser.add_argument("--rounds", type=positive, default=3, help="the two take turns this often")
    arguments = parser.parse_args()
    reports = arguments.trials * arguments.epochs
    measures = {
        "ours": partial(ours, at_once=False),
        "ours, at once": partial(ours, at_once=True),
        "MLflowLoggerCallback": rays,
    }
    table = {name: [] for name in measures}
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, measure in measures.items():
                times = measure(Path(folder) / name, arguments.trials, arguments.epochs)
                table[name].append(times)
    print(f"{arguments.trials} trials x {arguments.epochs} epochs on sqlite, median of rounds, ms")
    print("| recorder | a report | a trial's begin and end | all of it, a report |")
    print("|---|---|---|---|")
    totals = {}
    for name, rounds in table.items():
        report, life = (sorted(column)[len(rounds) // 2] for column in zip(*rounds, strict=True))
        totals[name] = 1e3 * (report + life) / reports
        print(
            f"| {name} | {1e3 * report / reports:.2f} | {1e3 * life / arguments.trials:.1f} "
            f"| {totals[name]:.2f} |"
        )
    print(f"ratio to ours: {totals['MLflowLoggerCallback'] / totals['ours']:.1f}")
    met = "within" if totals["ours, at once"] <= ALLOWED else "beyond"
    print(f"{met} the {ALLOWED:g} ms a report that the project allows itself")


if __name__ == "__main__":
    main()
