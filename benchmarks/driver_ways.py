"""Runs trials that learn nothing on Ray, in several ways, and measures what each costs."""

import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from ray import tune

from benchmarks.driven_study import OBJECTIVE, DrivenStudy
from benchmarks.stub_trial import StubConfig, StubTrial
from engine.on_ray.backend import RayBackend
from engine.options import Options
from engine.space import Space
from record.folder import StudyFolder
from trainables.fit import SupervisedProblem

ROOT = Path(__file__).resolve().parent.parent

PLAIN = "plain Tune"

TOGETHER = 5
"""Epochs that are reported together at most."""


@dataclass(frozen=True)
class Load:
    """A load of trials.

    Attributes:
        trials: How many, all told.
        at_once: How many of them side by side.
        epochs: How many each trial does.
        epoch_seconds: How long each epoch takes.
    """

    trials: int
    at_once: int
    epochs: int
    epoch_seconds: float


@dataclass(frozen=True)
class Done:
    """A load that was run, and what it cost the driver.

    Attributes:
        epochs: How many were reported.
        processor: Seconds that the driver's process computed, from the first trial on.
        asking: Seconds of them that Optuna took; None: it was not asked.
        wall: Seconds on the clock.
        memory: MiB of the driver's process at the end.
    """

    epochs: int
    processor: float
    asking: float | None
    wall: float
    memory: float


Run = Callable[[], tuple[int, float | None]]
"""Runs a load; returns the epochs that were reported, and the seconds of asking."""

Way = Callable[[Load, str], Run]
"""Makes everything ready in a folder, which is not measured."""


def by_tune(load: Load, folder: str) -> Run:
    """Makes Tune ready to run the trials alone."""
    epochs, seconds = load.epochs, load.epoch_seconds  # the workers need not import this module

    def trial(config: dict[str, float]) -> None:
        for epoch in range(1, epochs + 1):
            time.sleep(seconds)
            metrics = dict.fromkeys(("validation/loss", "validation/mse", "validation/mae"), 0.5)
            tune.report({**metrics, OBJECTIVE: config["level"] * epoch, "train/loss": 0.5})

    tuner = tune.Tuner(
        trial,
        param_space={"level": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(num_samples=load.trials, max_concurrent_trials=load.at_once),
        run_config=tune.RunConfig(storage_path=folder, verbose=0),
    )
    # Tune reads results from files, which nobody writes here, and says so for each trial.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)

    def run() -> tuple[int, None]:
        found = [result.metrics for result in tuner.fit() if result.metrics]
        return sum(metrics["training_iteration"] for metrics in found), None

    return run


def one_by_one(load: Load, folder: str) -> Run:
    """Makes a study ready whose trials report each epoch."""
    return _studied(load, folder, report_every=0.0)


def together(load: Load, folder: str) -> Run:
    """Makes a study ready whose trials report `TOGETHER` epochs at a time."""
    return _studied(load, folder, report_every=(TOGETHER - 0.5) * load.epoch_seconds)


def _studied(load: Load, folder: str, report_every: float) -> Run:
    """Makes a study ready whose trials report every so many seconds."""
    fixed = {"epochs": [load.epochs], "seconds": [load.epoch_seconds]}
    space = Space.of(StubConfig, "family", fixed)
    study = DrivenStudy(StudyFolder(Path(folder), "cost"), space, load.trials, report_every)
    nothing = SupervisedProblem(no_task, digest="")
    backend = RayBackend(nothing, Options(max_concurrent=load.at_once), 0, StubTrial)

    def run() -> tuple[int, float]:
        backend.run(study.driver)
        study.close()
        assert study.state.count("finished", "pruned") == load.trials, study.driver.agenda.stop
        return sum(trial.epoch for trial in study.state.trials()), study.search.seconds

    return run


def no_task(*_: Any) -> Any:
    """Makes nothing of a configuration: a stub learns nothing."""


WAYS: dict[str, Way] = {
    PLAIN: by_tune,
    "an epoch a message": one_by_one,
    "five epochs a message": together,
}


def measured(way: str, load: Load) -> Done:
    """Runs a load in this process, in one of the `WAYS`."""
    os.environ["PYTHONPATH"] = str(ROOT)  # the workers import the stub
    at_once, process = load.at_once, psutil.Process()
    ray.init(num_cpus=at_once, include_dashboard=False, log_to_driver=False, address="local")
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        run = WAYS[way](load, folder)
        computed = sum(process.cpu_times()[:2])
        epochs, asking = run()
        computed = sum(process.cpu_times()[:2]) - computed
        wall = time.perf_counter() - begun
    memory = process.memory_info().rss / 2**20
    ray.shutdown()
    return Done(epochs, computed, asking, wall, memory)
