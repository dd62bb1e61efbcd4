"""The fits behind docs/results-driving.md: each becomes one row of docs/results/driving.csv.

    python benchmarks/driving_fits.py presets
    python benchmarks/driving_fits.py best --study world-model-pursuit

`presets` is the homework's configuration with either core, for its 50 epochs, and `loop` the same
trained in the homework's own way, with a step of the optimiser after each time step; `best` the
configuration that a study found best; `one-step` the default without free steps, trained longer,
for the smallest one-step error; `both` the default, trained as long; `ablations` the default with
one change.

Every fit runs on fresh seeds, one thread each and several at a time; its test episodes are rolled
out once, after the last epoch.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from analysis.command_line import tracking_uri
from analysis.rollout_scores import dream
from benchmarks.command_line import Parser
from benchmarks.driving_results import RESULTS, Row, scores, split_of, table
from benchmarks.driving_step import StepLoop
from benchmarks.fits import Fit, add_options, run_all, trained
from datasets.driving import DrivingOptions, open_drives
from datasets.errors import InputError
from datasets.terminal import replace_what_cannot_be_shown
from datasets.typed_paths import typed_address
from record.folder import StudyFolder
from record.reading import recorded_study
from record.recorded_study import RecordedStudy
from record.values import made_of
from studies.world_model_sweep import STUDY
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


def best_of(study: RecordedStudy, digest: str) -> WorldModelConfig:
    """The configuration of the best finished trial.

    Raises:
        InputError: If no trial finished, or the study may have seen what is tested on here.
    """
    expected = {
        "study": STUDY.key,
        "seed": SPLIT_SEED,
        "data.split": SPLIT,
        "data.digest": digest,
    }
    for name, value in expected.items():
        if study.params.get(name) != value:
            raise InputError(
                f"{study.name} has {name} {study.params.get(name)}, expected {value}: what it "
                "chose may have been chosen by the episodes that are tested on here"
            )
    trial = study.best(study.trials)
    if trial is None:
        raise InputError(f"no trial of {study.name} finished")
    return made_of(WorldModelConfig, trial.config)


def homeworks(cores: Iterable[Core]) -> list[WorldModelConfig]:
    """The homework's configuration with some cores, for as many epochs as it has itself."""
    fields = [homework(core) | {"epochs": HOMEWORK_EPOCHS} for core in cores]
    return [WorldModelConfig(**each) for each in fields]  # pyright: ignore[reportArgumentType]


def configurations(typed: argparse.Namespace, digest: str) -> list[WorldModelConfig]:
    """What an experiment fits, on each seed.

    Raises:
        InputError: If it needs a study and that is not there, or another one's.
    """
    match typed.experiment:
        case "presets":
            return homeworks(get_args(Core))
        case "loop":
            return homeworks(["builtin"])
        case "best":
            folder = StudyFolder(typed.runs_dir, typed.study)
            return [best_of(recorded_study(folder, tracking_uri(typed.runs_dir)), digest)]
        case "one-step":
            return [WorldModelConfig(sequence_length=16, free_steps=0, epochs=LONG)]
        case "both":
            return [WorldModelConfig(epochs=LONG)]
    return [replace(WorldModelConfig(), **change) for change in ABLATIONS]


def planned(typed: argparse.Namespace, digest: str) -> list[Fit[WorldModelConfig]]:
    """The fits of an experiment.

    Raises:
        InputError: As `configurations`.
    """
    return [
        Fit(typed.experiment, split_of(SPLIT, digest), replace(config, seed=seed))
        for seed in range(1, typed.seeds + 1)
        for config in configurations(typed, digest)
    ]


def run(job: Fit[WorldModelConfig], recordings: str | None, data_dir: Path, threads: int) -> Row:
    """Makes one fit, in a process of its own."""
    config = job.config
    device = pick_device(int(torch.cuda.is_available()), threads)
    data = open_drives(DrivingOptions(recordings=recordings, split=SPLIT), SPLIT_SEED, data_dir)
    task = DrivingTask(data, config, device)
    if job.experiment == "loop":
        model, seconds = by_steps(task, device)
    else:
        epoch, seconds = trained(job, task, device, data.digest, data_dir)
        model = epoch.model
    with torch.no_grad():
        metrics = task.evaluate(model.eval())
    return Row(
        experiment=job.experiment,
        split=SPLIT,
        data=data.digest,
        core=config.core,
        decoder=config.decoder,
        seed=config.seed,
        epochs=config.epochs,
        parameters=sum(p.numel() for p in model.parameters()),
        validation_skill=round(metrics["validation/skill"], 5),
        validation_one_step=round(metrics["validation/persistence_ratio"], 5),
        **scores(dream(model.cpu(), data)),  # pyright: ignore[reportArgumentType]
        seconds=round(seconds, 1),
        device=device_name(device),
        config=job.key[2],
    )


def by_steps(task: DrivingTask, device: torch.device) -> tuple[nn.Module, float]:
    """A model trained in the homework's own way, and the seconds that took."""
    loop = StepLoop(task, device)
    begun = time.perf_counter()
    for _ in range(task.config.epochs):
        loop.train_epoch()
    return loop.model, time.perf_counter() - begun


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 for bad input."""
    replace_what_cannot_be_shown()
    line = Parser(__doc__)
    experiments = ["presets", "loop", "best", "one-step", "both", "ablations"]
    line.add_argument("experiment", choices=experiments)
    line.add_argument(
        "--recordings",
        type=typed_address,
        metavar="FILE",
        help="one's own drives (default: recorded)",
    )
    add_options(line, RESULTS)
    try:
        typed = line.parse_args(argv)
        if typed.experiment == "best" and typed.study is None:
            raise InputError("best needs --study NAME: whose best configuration?")
        options = DrivingOptions(recordings=typed.recordings, split=SPLIT)
        # Recorded once, before the processes.
        digest = open_drives(options, SPLIT_SEED, typed.data_dir).digest
        score = partial(
            run, recordings=typed.recordings, data_dir=typed.data_dir, threads=typed.threads
        )
        run_all(planned(typed, digest), score, typed.jobs, table(typed.results))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
