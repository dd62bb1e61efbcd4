"""What an epoch costs the driver of a study when a hundred trials run at once.

    python benchmarks/driver_cost.py

Trials that learn nothing, each a process of Ray's: once reported an epoch at a time, once five at
a time, with log, MLflow, early stopping and all, and once by plain Tune, a function that reports
as many epochs to nobody. Each in a process of its own, one after the other; the driver's processor
time is divided by the epochs.
"""

import argparse
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import ray
from ray import tune

from benchmarks.driven_study import OBJECTIVE, DrivenStudy
from benchmarks.rounds import positive
from benchmarks.scale import NO_PROBLEM
from benchmarks.stub_trial import StubConfig, StubTrial
from engine import driver
from engine.on_ray import backend
from engine.on_ray.backend import RayBackend
from engine.options import Options
from engine.space import Space
from record.folder import StudyFolder

ROOT = Path(__file__).resolve().parent.parent

WAYS = ("plain Tune", "an epoch a message", "five epochs a message")


def studied(
    folder: StudyFolder, trials: int, at_once: int, epochs: int, seconds: float
) -> tuple[float, int]:
    """A study with all that it has; returns its driver's processor seconds, from the first trial
    on, and how many epochs its log has in the end."""
    typed = {"epochs": [epochs], "seconds": [seconds], "effect": [0.0]}
    space = Space.of(StubConfig, "family", typed)
    study = DrivenStudy(folder, space, trials)
    backend.TrialTrainable = StubTrial  # pyright: ignore[reportAttributeAccessIssue]
    begun = processor_seconds()
    RayBackend(NO_PROBLEM, Options(max_concurrent=at_once), 0).run(study.driver)
    study.close()
    spent = processor_seconds() - begun
    assert study.state.count("finished", "pruned") == trials, study.driver.agenda.stop
    return spent, sum(trial.epoch for trial in study.state.trials())


def processor_seconds() -> float:
    """What this process has used so far."""
    return sum(psutil.Process().cpu_times()[:2])


def plain(
    trials: int, at_once: int, epochs: int, seconds: float, folder: str
) -> tuple[float, int]:
    """As many trials by Tune alone; returns the same as `studied`."""

    def trial(config: dict[str, float]) -> None:
        for epoch in range(1, epochs + 1):
            time.sleep(seconds)
            metrics = dict.fromkeys(("validation/loss", "validation/mse", "validation/mae"), 0.5)
            tune.report({**metrics, OBJECTIVE: config["level"] * epoch, "train/loss": 0.5})

    tuner = tune.Tuner(
        trial,
        param_space={"level": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=at_once),
        run_config=tune.RunConfig(storage_path=folder, verbose=0),
    )
    # Tune reads results from files, which nobody writes here, and says so for each trial.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    begun = processor_seconds()
    done = tuner.fit()
    spent = processor_seconds() - begun
    return spent, sum(result.metrics["training_iteration"] for result in done if result.metrics)


def measured(way: str, trials: int, at_once: int, epochs: int, seconds: float) -> dict[str, Any]:
    """One of `WAYS` in this process, and what it cost."""
    os.environ["PYTHONPATH"] = str(ROOT)
    ray.init(num_cpus=at_once, include_dashboard=False, log_to_driver=False, address="local")
    driver.MESSAGES_A_SECOND = math.inf if way == WAYS[1] else at_once / (4.5 * seconds)
    with tempfile.TemporaryDirectory() as name:
        begun = time.perf_counter()
        if way == WAYS[0]:
            cpu, done = plain(trials, at_once, epochs, seconds, name)
        else:
            cpu, done = studied(StudyFolder(Path(name), "cost"), trials, at_once, epochs, seconds)
        wall = time.perf_counter() - begun
    ray.shutdown()
    return {"way": way, "trials": trials, "epochs": done, "wall_s": wall, "ms": 1000 * cpu / done}


def main() -> int:
    """Prints a row for each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=positive, default=200)
    parser.add_argument("--at-once", type=positive, default=100)
    parser.add_argument("--epochs", type=positive, default=20)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each epoch")
    parser.add_argument("--here", choices=WAYS, help="one way, in this process, as JSON")
    typed = parser.parse_args()
    sizes = (typed.trials, typed.at_once, typed.epochs, typed.seconds)
    if typed.here:
        print(json.dumps(measured(typed.here, *sizes)))
        return 0
    print("| way | trials | epochs | wall time, s | driver CPU an epoch, ms | to plain Tune |")
    print("|---|---|---|---|---|---|", flush=True)
    flags = ("--trials", "--at-once", "--epochs", "--seconds")
    common = [text for flag, size in zip(flags, sizes, strict=True) for text in (flag, str(size))]
    plain_ms = math.nan
    for way in WAYS:
        done = subprocess.run(
            [sys.executable, __file__, *common, "--here", way],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        row = json.loads(done.stdout.splitlines()[-1])
        plain_ms = row["ms"] if way == WAYS[0] else plain_ms
        print(
            f"| {way} | {row['trials']:,} | {row['epochs']:,} | {row['wall_s']:.0f} | "
            f"{row['ms']:.1f} | {row['ms'] / plain_ms:.2f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
