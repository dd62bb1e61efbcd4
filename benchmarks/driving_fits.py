"""The fits behind docs/results-driving.md: each becomes one row of docs/results/driving.csv.

    python benchmarks/driving_fits.py presets
    python benchmarks/driving_fits.py best --study world-model-pursuit

`presets` is the homework's configuration with either core, for its 50 epochs; `best` the one that
a study found best; `one-step` the default without free steps, trained longer, for the smallest
one-step error; `both` the default, trained as long; `ablations` the default with one change.

Every fit runs on fresh seeds, one thread each and several at a time; its test episodes are rolled
out once, after the last epoch.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch

from analysis.command_line import tracking_uri
from analysis.dreams import dream
from analysis.runs import StudyRuns, TrackingStore
from benchmarks.driving_results import RESULTS, Row, scores, table
from benchmarks.fits import Fit, add_options, config_of, run_all, trained
from benchmarks.rounds import Parser
from datasets.driving import DrivingOptions, open_drives
from datasets.errors import InputError
from trainables.device import device_name, pick_device
from trainables.driving import DrivingTask
from trainables.models.world_model import Core, WorldModelConfig, homework

SPLIT_SEED = 0
SPLIT = "random"

HOMEWORK_EPOCHS = 50
LONG = 100
"""Epochs of the fits that show how far a configuration goes."""

ABLATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"decoder": "linear"},
    {"decoder": "convolutional"},
    {"encoder": "flatten"},
    {"free_steps": 0},
    {"free_steps": 8},
    {"weighting": "equal"},
    {"free_steps": 0, "sampling_rate": 0.5},
    {"free_steps": 0, "sampling_rate": 1.0},
    {"free_steps": 0, "noise": 0.05},
    {"noise": 0.05},
    {"sampling_rate": 0.5},
    {"hidden": 256},
)
"""Changes to the default configuration."""


def best_of(study: StudyRuns) -> WorldModelConfig:
    """The configuration of the best finished trial.

    Raises:
        InputError: If no trial finished.
    """
    trial = study.best(study.trials)
    if trial is None:
        raise InputError(f"no trial of {study.name} finished")
    return config_of(WorldModelConfig, trial.params)


def planned(typed: argparse.Namespace) -> list[Fit[WorldModelConfig]]:
    """The fits of an experiment.

    Raises:
        InputError: If it needs a study and that is not there.
    """
    configs: list[WorldModelConfig] = []
    if typed.experiment == "presets":
        fields = [homework(core) | {"epochs": HOMEWORK_EPOCHS} for core in get_args(Core)]
        configs = [WorldModelConfig(**each) for each in fields]  # pyright: ignore[reportArgumentType]
    elif typed.experiment == "best":
        if typed.study is None:
            raise InputError("best needs --study NAME: whose best configuration?")
        configs = [best_of(TrackingStore(tracking_uri(typed.runs_dir)).study(typed.study))]
    elif typed.experiment == "one-step":
        configs = [WorldModelConfig(sequence_length=16, free_steps=0, epochs=LONG)]
    elif typed.experiment == "both":
        configs = [WorldModelConfig(epochs=LONG)]
    else:
        configs = [replace(WorldModelConfig(), **change) for change in ABLATIONS]
    return [
        Fit(typed.experiment, SPLIT, replace(config, seed=seed))
        for seed in range(1, typed.seeds + 1)
        for config in configs
    ]


def run(job: Fit[WorldModelConfig], recordings: str | None, data_dir: Path, threads: int) -> Row:
    """Makes one fit, in a process of its own."""
    config = job.config
    device = pick_device(int(torch.cuda.is_available()), threads)
    data = open_drives(DrivingOptions(recordings=recordings, split=SPLIT), SPLIT_SEED, data_dir)
    task = DrivingTask(data, config, device)
    epoch, seconds = trained(job, task, device, data.digest, data_dir)
    return Row(
        experiment=job.experiment,
        split=job.split,
        core=config.core,
        decoder=config.decoder,
        seed=config.seed,
        epochs=config.epochs,
        parameters=sum(p.numel() for p in epoch.model.parameters()),
        validation_skill=round(epoch.metrics["validation/skill"], 5),
        validation_one_step=round(epoch.metrics["validation/persistence_ratio"], 5),
        **scores(dream(epoch.model.cpu(), data)),  # pyright: ignore[reportArgumentType]
        seconds=round(seconds, 1),
        device=device_name(device),
        config=job.key[2],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 for bad input."""
    line = Parser(__doc__)
    line.add_argument("experiment", choices=["presets", "best", "one-step", "both", "ablations"])
    line.add_argument("--recordings", metavar="FILE", help="one's own drives (default: recorded)")
    add_options(line, RESULTS)
    try:
        typed = line.parse_args(argv)
        options = DrivingOptions(recordings=typed.recordings, split=SPLIT)
        open_drives(options, SPLIT_SEED, typed.data_dir)  # recorded once, before the processes
        score = partial(
            run, recordings=typed.recordings, data_dir=typed.data_dir, threads=typed.threads
        )
        run_all(planned(typed), score, typed.jobs, table(typed.results))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
