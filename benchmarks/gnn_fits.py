"""The fits behind docs/results-gnn.md: each becomes one row of docs/results/gnn.csv.

    python benchmarks/gnn_fits.py presets --dataset qm9
    python benchmarks/gnn_fits.py best --dataset qm9 --study qm9-mu

`presets` are the homework's configurations, `best` those that a study found best in each family,
`long` the best of these in the table trained longer, `sizes` it on more and more molecules, `full`
it trained longer on the most, `depths` the default of each family at several depths, `ablations`
the default with one change.

Every fit runs on fresh seeds, one thread each and several at a time; its test split is scored
once, after the last epoch. An interrupted run is continued by its own command: a fit that has its
row is not repeated, one that was under way goes on after its last epoch.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from analysis.command_line import tracking_uri
from benchmarks.command_line import Parser
from benchmarks.fits import Fit, add_options, run_all, trained
from benchmarks.gnn_results import RESULTS, Row, champion, read_rows, table
from datasets.errors import InputError
from datasets.sources import MoleculeOptions, MoleculeSet, open_molecules
from datasets.terminal import replace_what_cannot_be_shown
from datasets.typed_paths import typed_address
from record.folder import StudyFolder
from record.reading import recorded_study
from record.recorded_study import RecordedStudy
from record.values import made_of
from trainables.device import device_name, pick_device
from trainables.metrics import mae, mse, r2
from trainables.models import families
from trainables.models.family import Family
from trainables.models.gnn import GNNConfig, homework
from trainables.molecules import MoleculeTask, predict

SPLIT_SEED = 0
HOMEWORK = "homework"

SIZES = (2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Training molecules of the learning curve; 10,000 others each validate and test."""

STEPS = 8_000
"""Optimiser steps of a fit of the learning curve, where a data set is small."""

DEPTHS = (2, 3, 4, 6, 8)
DEEP_DEPTHS = (2, 4, 7, 14, 28)
"""For families that may be deeper than the last of `DEPTHS`."""

DEPTH_EPOCHS = 8

ABLATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"edges": "bonds"},
    {"head": "mean"},
    {"edges": "bonds", "head": "mean"},
    {"cutoff": 2.5},
    {"cutoff": 6.0},
    {"hybridization": False},
    {"normalization": "none"},
    {"schedule": "constant"},
    {"warmup": 0.0},
    {"gradient_clip": 0.0},
    {"averaging": 0.0},
    {"width": 128},
    {"depth": 6},
)
"""Changes to the default configuration, which is GCN's."""


def presets(seeds: Sequence[int]) -> list[Fit[GNNConfig]]:
    """The homework's configuration of each family."""
    return [
        Fit("presets", HOMEWORK, GNNConfig(**homework(family.key), seed=seed))
        for family in families.FAMILIES
        for seed in seeds
    ]


def depths(family: Family) -> list[int]:
    """The depths at which a family is tried."""
    tried = DEEP_DEPTHS if family.deepest > DEPTHS[-1] else DEPTHS
    return [depth for depth in tried if family.depth.low <= depth <= family.deepest]


def best_of(study: RecordedStudy) -> dict[str, GNNConfig]:
    """Family -> configuration of its best finished trial, the best family first."""
    found = {family: study.best(trials) for family, trials in study.groups.items()}
    trials = [trial for trial in found.values() if trial is not None]
    trials.sort(key=study.value, reverse=True)
    return {study.group(trial): made_of(GNNConfig, trial.config) for trial in trials}


def planned(typed: argparse.Namespace) -> list[Fit[GNNConfig]]:
    """The fits of an experiment.

    Raises:
        InputError: If it needs a study and that is not there.
    """
    seeds = range(1, typed.seeds + 1)
    if typed.experiment == "presets":
        return presets(seeds)
    if typed.experiment == "depths":
        return [
            Fit("depths", HOMEWORK, GNNConfig(family=family.key, depth=depth, epochs=DEPTH_EPOCHS))
            for family in families.FAMILIES
            for depth in depths(family)
        ]
    if typed.experiment == "ablations":
        return [
            Fit("ablations", HOMEWORK, replace(GNNConfig(seed=seed), **change))
            for seed in seeds
            for change in ABLATIONS
        ]
    if typed.experiment == "best":
        if typed.study is None:
            raise InputError("best needs --study NAME: whose best configurations?")
        folder = StudyFolder(typed.runs_dir, typed.study)
        best = best_of(recorded_study(folder, tracking_uri(typed.runs_dir)))
        return [
            Fit("best", HOMEWORK, replace(config, seed=seed))
            for seed in seeds
            for config in best.values()
        ]
    found = champion(read_rows(typed.results))
    longer = replace(found, seed=1, epochs=4 * found.epochs)
    if typed.experiment == "long":
        return [Fit("long", HOMEWORK, replace(longer, seed=seed)) for seed in seeds]
    if typed.experiment == "full":
        return [Fit("full", _random(SIZES[-1]), longer)]
    return [
        Fit(
            "sizes",
            _random(size),
            replace(found, seed=1, epochs=_epochs(found, size)),
        )
        for size in reversed(SIZES)  # the longest first
    ]


def _random(size: int) -> str:
    return f"random:{size},10000,10000"


def _epochs(config: GNNConfig, molecules: int) -> int:
    """As many as the study's, or more where these would be fewer steps than `STEPS`."""
    return max(config.epochs, round(STEPS * config.batch_size / molecules))


@cache
def _molecules(dataset: str, split: str, cache_folder: Path) -> MoleculeSet:
    options = MoleculeOptions(dataset=dataset, split=split)
    return open_molecules(options, SPLIT_SEED, cache_folder, notify=lambda _: None)


def run(job: Fit[GNNConfig], dataset: str, cache_folder: Path, threads: int) -> Row:
    """Makes one fit, in a process of its own."""
    config = job.config
    device = pick_device(int(torch.cuda.is_available()), threads)
    data = _molecules(dataset, job.split, cache_folder)
    task = MoleculeTask(data, config, device)
    epoch, seconds = trained(job, task, device, f"{data.digest} {len(data.graphs)}", cache_folder)
    test = torch.from_numpy(data.split.test)
    prediction = predict(epoch.model, task.store, test)
    target = torch.from_numpy(data.graphs.targets[data.split.test])
    return Row(
        experiment=job.experiment,
        split=job.split,
        family=config.family,
        seed=config.seed,
        train=len(data.split.train),
        depth=config.depth,
        epochs=config.epochs,
        parameters=sum(p.numel() for p in epoch.model.parameters()),
        validation_r2=round(epoch.metrics["validation/r2"], 5),
        validation_mae=round(epoch.metrics["validation/mae"], 5),
        test_r2=round(r2(prediction, target), 5),
        test_mse=round(mse(prediction, target), 5),
        test_mae=round(mae(prediction, target), 5),
        seconds=round(seconds, 1),
        device=device_name(device),
        config=job.key[2],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 for bad input."""
    replace_what_cannot_be_shown()
    line = Parser(__doc__)
    line.add_argument(
        "experiment", choices=["presets", "best", "long", "sizes", "full", "depths", "ablations"]
    )
    line.add_argument(
        "--dataset",
        type=typed_address,
        default="qm9",
        help="qm9 or FILE.parquet (default: %(default)s)",
    )
    keys = [family.key for family in families.FAMILIES]
    line.add_argument("--family", nargs="+", choices=keys, help="only these (default: all)")
    add_options(line, RESULTS)
    try:
        typed = line.parse_args(argv)
        jobs = [job for job in planned(typed) if job.config.family in (typed.family or keys)]
        score = partial(
            run, dataset=typed.dataset, cache_folder=typed.data_dir, threads=typed.threads
        )
        run_all(jobs, score, typed.jobs, table(typed.results))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
