"""How long a study of many recorded trials takes to start, MLflow brought up to its log.

    python benchmarks/large_study.py

Records trials that nobody trained, through the study's own engine: Optuna asked and told, each
epoch in the log and in MLflow. Then types the study's command with one trial more and measures
until it begins with it, imports and data included; and how long the doctor takes that compares
every epoch.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from upath import UPath

from benchmarks.rounds import positive
from engine.driver import Driver, Nothing
from engine.local_backend import LocalBackend
from engine.main import main as study_main
from studies.gnn_sweep import STUDY
from trainables import checkpoint
from trainables.message import DEPTH, Message

ROOT = Path(__file__).resolve().parent.parent
NAME = "large"
HERE = {"node": "here", "process": 1, "device": "cpu", "processor": "any", "threads": "1"}
"""Where nothing was trained."""

ALLOWED = 8.0
"""Seconds until the study begins that the project allows itself."""

ALLOWED_REPORT = 60.0
"""Seconds of its report that the project allows itself."""


def untrained(self: LocalBackend, driver: Driver) -> None:
    """Stands for `LocalBackend.run`: a result for each epoch, none of them trained, and an empty
    checkpoint at the end."""
    del self
    while not isinstance(trial := driver.next(), Nothing):
        epochs = trial.config["epochs"]
        folder = UPath(driver.begin(trial).folder) / f"checkpoint_{epochs:06d}"
        driver.placed(trial.number)
        state = {"epoch": epochs, "config": dict(trial.config), "model": {}}
        checkpoint.save(folder, state)
        rows = tuple(made_up(trial.number, epoch) for epoch in range(1, epochs + 1))
        name = "/".join(folder.parts[-DEPTH:])
        driver.heard(Message(trial.number, rows, checkpoint=name, where=HERE))


def made_up(number: int, epoch: int) -> dict[str, float]:
    """What a trial might say of an epoch."""
    errors = dict.fromkeys(("validation/loss", "validation/mse", "validation/mae"), 0.5)
    learned = {"validation/r2": 1 - 1 / (1 + epoch + number % 17), "train/loss": 0.3}
    spent = {"train/seconds": 1.0, "memory_gib": 0.5}
    return {**errors, **learned, **spent, "epoch": epoch, "unix_ms": epoch}


def command(folder: Path, trials: int) -> list[str]:
    """The study with so many trials."""
    return [
        *("--molecules", "300", "--trials", str(trials), "--name", NAME, "--local"),
        *("--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")),
    ]


def begun_after(folder: Path, trials: int) -> float:
    """Seconds from typing the command to the line that it begins with."""
    script = str(ROOT / "studies" / "gnn_sweep.py")
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, script, *command(folder, trials)],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        if line.startswith(f"study {NAME}: {trials - 1} of {trials} trials done"):
            seconds = time.perf_counter() - begun
            process.kill()
            process.wait()
            return seconds
        said.append(line)
    raise RuntimeError(f"the study did not begin: {''.join(said)}")


def main() -> int:
    """Prints the seconds; returns 1 if they are more than allowed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=positive, default=1000)
    parser.add_argument("--rounds", type=positive, default=3)
    typed = parser.parse_args()
    LocalBackend.run = untrained
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = replace(STUDY, scorecard=None)
        begun = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            code = study_main(study, command(folder, typed.trials))
        if code != 0:
            return code
        print(f"recorded {typed.trials} trials in {time.perf_counter() - begun:.0f} s")
        seconds = sorted(begun_after(folder, typed.trials + 1) for _ in range(typed.rounds))
        median = seconds[len(seconds) // 2]
        print(
            f"a study of {typed.trials} recorded trials begins after {median:.1f} s "
            f"({seconds[0]:.1f} to {seconds[-1]:.1f}); allowed: {ALLOWED:g} s"
        )
        reported = _report(folder)
        print(f"its report takes {reported:.1f} s; allowed: {ALLOWED_REPORT:g} s")
        doctor = [str(ROOT / "studies" / "doctor.py"), NAME, "--repair"]
        doctor += ["--runs-dir", str(folder / "runs")]
        begun = time.perf_counter()
        code = subprocess.run([sys.executable, *doctor]).returncode
        print(
            f"the doctor reads every epoch twice, and closes what the measurement killed, in "
            f"{time.perf_counter() - begun:.1f} s; it ends with {code}"
        )
    return 0 if median <= ALLOWED and reported <= ALLOWED_REPORT else 1


def _report(folder: Path) -> float:
    """Seconds from typing the command of the report to its end."""
    script = str(ROOT / "analysis" / "report.py")
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, script, NAME, "--runs-dir", str(folder / "runs")],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
