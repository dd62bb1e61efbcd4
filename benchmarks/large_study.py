"""Measures how long a study of many recorded trials takes to start, MLflow brought up to its log.

    python benchmarks/large_study.py

Records trials that nobody trained, through the study's own engine: Optuna asked and told, each
epoch in the log and in MLflow. Then types the study's command with one trial more and measures
until it begins with it, imports and data included; how long the report of the study takes; and how
long the doctor takes that compares every epoch.
"""

import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from statistics import median

from upath import UPath

from benchmarks.command_line import Parser, exit_code, positive
from engine.command import command_of
from engine.conclude import conclude
from engine.driver import Driver, Nothing
from engine.local_backend import LocalBackend
from engine.prepare import prepare
from engine.resources import Resources
from engine.run import run
from studies.gnn_sweep import STUDY
from trainables import checkpoint
from trainables.message import DEPTH, Message

ROOT = Path(__file__).resolve().parent.parent
NAME = "large"
HERE = {"node": "here", "process": 1, "device": "cpu", "processor": "any", "threads": "1"}
"""A place where nothing was trained."""

ALLOWED = 8.0
"""Seconds until the study begins that the project allows itself."""

ALLOWED_REPORT = 60.0
"""Seconds of its report that the project allows itself."""


class Untrained(LocalBackend):
    """Trains nothing: each trial has a result for each epoch, and an empty checkpoint at its
    end."""

    def run(self, driver: Driver) -> None:
        """Goes through trials until none is left."""
        while not isinstance(trial := driver.next(), Nothing):
            epochs = trial.config["epochs"]
            folder = UPath(driver.begin(trial).folder) / f"checkpoint_{epochs:06d}"
            driver.placed(trial.number)
            checkpoint.save(folder, {"epoch": epochs, "config": dict(trial.config), "model": {}})
            rows = tuple(made_up(trial.number, epoch) for epoch in range(1, epochs + 1))
            name = "/".join(folder.parts[-DEPTH:])
            driver.heard(Message(trial.number, rows, checkpoint=name, where=HERE))


def made_up(number: int, epoch: int) -> dict[str, float]:
    """Makes up what a trial might report of an epoch."""
    errors = dict.fromkeys(("validation/loss", "validation/mse", "validation/mae"), 0.5)
    learned = {"validation/r2": 1 - 1 / (1 + epoch + number % 17), "train/loss": 0.3}
    spent = {"train/seconds": 1.0, "memory_gib": 0.5}
    return {**errors, **learned, **spent, "epoch": epoch, "unix_ms": epoch}


def typed_words(folder: Path, trials: int) -> list[str]:
    """Gives what is typed after the study's script, for so many trials."""
    return [
        *("--molecules", "300", "--trials", str(trials), "--name", NAME, "--local"),
        *("--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")),
    ]


def record(folder: Path, trials: int) -> int:
    """Records a study of so many trials; returns the exit code of its command."""
    command = command_of(replace(STUDY, scorecard=None), typed_words(folder, trials))
    with redirect_stdout(StringIO()), prepare(command, Resources(command, 0)) as prepared:
        assert prepared is not None
        prepared.backend = Untrained(prepared.problem, command.options, 0)
        return conclude(prepared, run(prepared))


def begun_after(folder: Path, trials: int) -> float:
    """Measures the seconds from typing the study's command to the line that it begins with.

    Raises:
        RuntimeError: If it does not begin; the message is what it printed.
    """
    script = str(ROOT / "studies" / "gnn_sweep.py")
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, script, *typed_words(folder, trials)],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        if line.startswith(f"study {NAME}: {trials - 1} of {trials} trials done"):
            seconds = time.perf_counter() - begun
            process.kill()
            process.wait()
            return seconds
        printed.append(line)
    raise RuntimeError(f"the study did not begin: {''.join(printed)}")


def reported_after(folder: Path) -> float:
    """Measures the seconds from typing the command of the report to its end."""
    command = [str(ROOT / "analysis" / "report.py"), NAME, "--runs-dir", str(folder / "runs")]
    begun = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def repaired_after(folder: Path) -> tuple[float, int]:
    """Measures the seconds that the doctor takes; returns its exit code too."""
    script = str(ROOT / "studies" / "doctor.py")
    command = [script, NAME, "--repair", "--runs-dir", str(folder / "runs")]
    begun = time.perf_counter()
    code = subprocess.run([sys.executable, *command]).returncode
    return time.perf_counter() - begun, code


def main(argv: Sequence[str]) -> int:
    """Prints the seconds; returns 1 if they are more than allowed."""
    typed = _parsed(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun = time.perf_counter()
        if code := record(folder, typed.trials):
            return code
        print(f"recorded {typed.trials} trials in {time.perf_counter() - begun:.0f} s")
        seconds = [begun_after(folder, typed.trials + 1) for _ in range(typed.rounds)]
        print(
            f"a study of {typed.trials} recorded trials begins after {median(seconds):.1f} s "
            f"({min(seconds):.1f} to {max(seconds):.1f}); allowed: {ALLOWED:g} s"
        )
        reported = reported_after(folder)
        print(f"its report takes {reported:.1f} s; allowed: {ALLOWED_REPORT:g} s")
        repaired, code = repaired_after(folder)
        print(
            "the doctor reads every epoch twice, and closes what the measurement killed, in "
            f"{repaired:.1f} s; it ends with {code}"
        )
    return 0 if median(seconds) <= ALLOWED and reported <= ALLOWED_REPORT else 1


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_defaulting("--trials", positive, 1000, "trials that are recorded")
    parser.add_rounds(3, "how often the study is begun")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
