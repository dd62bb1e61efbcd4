"""The GNN study in the plain way that the libraries' own documentation teaches.

    python benchmarks/plain_way.py --data FILE.pt --points FILE.json --folder FOLDER ...

A function trainable that calls ``tune.report`` with a checkpoint after every epoch ("How to use
Tune with PyTorch"), the data through ``tune.with_parameters``, PyG's `DataLoader` over a list of
`Data`, `OptunaSearch` with a define-by-run space and Optuna's default sampler, `ASHAScheduler`,
`MLflowLoggerCallback` on sqlite. A part of `benchmarks/plain_study.py`, which says what both sides
do alike and reads the notes that this script leaves.

In its favour: the molecules come as ready `Data` objects from one file; Tune may run as many
trials at once as the study does, where the default would be one.
"""

import json
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import ray
import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from benchmarks.command_line import Parser, exit_code, not_negative, positive
from benchmarks.plain_notes import NOTES, Notes
from benchmarks.stock import StockGNN, mirrored_space, prepared
from benchmarks.stock_loop import EVALUATION_BATCH, StockFit
from datasets.typed_paths import typed_path
from engine.rungs import REDUCTION, first_rung
from engine.space import Space
from trainables.models.gnn import GNNConfig


def train(config: dict[str, Any], data: dict[str, list[Data]], notes: Path) -> None:
    """Trains one trial.

    Args:
        config: The fields of a `GNNConfig`, among others.
        data: The molecules of the ``train`` and the ``validation`` split, with bonds as edges.
        notes: Folder for what it notes of its epochs.
    """
    begun, noted = time.time(), Notes(notes)
    trial = tune.get_context().get_trial_id()
    gnn = GNNConfig(**{field.name: config[field.name] for field in fields(GNNConfig)})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(gnn.seed)
    training = DataLoader(prepared(data["train"], gnn), gnn.batch_size, shuffle=True)
    validation = DataLoader(prepared(data["validation"], gnn), EVALUATION_BATCH)
    mean, std = scale(data["train"], gnn)
    fit = StockFit(StockGNN(gnn, mean, std).to(device), gnn, len(training), std, device)
    for _ in range(gnn.epochs):
        epoch_begun = time.perf_counter()
        loss = fit.train_epoch(training)
        seconds = time.perf_counter() - epoch_begun
        metrics = fit.evaluate(validation)
        with tempfile.TemporaryDirectory() as folder:
            states = (fit.model.state_dict(), fit.optimizer.state_dict())
            torch.save(states, Path(folder) / "checkpoint.pt")
            noted.epoch(trial, asdict(gnn), begun, seconds, metrics["validation/r2"])
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report({"train/loss": loss, **metrics}, checkpoint=checkpoint)


def scale(train: Sequence[Data], config: GNNConfig) -> tuple[float, float]:
    """Mean and standard deviation of the train split's targets, if the model is to use them."""
    if not config.standardize:
        return 0.0, 1.0
    targets = np.array([float(data.y) for data in train])  # pyright: ignore[reportArgumentType]
    return float(targets.mean()), float(targets.std())


def define_by_run(space: Space, notes: Notes, trial: optuna.Trial) -> dict[str, Any]:
    """Asks Optuna for a point of the study's own space; returns all fields of it."""
    notes.asked()
    baseline = trial.number < len(space.compared)
    return {**asdict(space.suggest(trial, trial.number)), "baseline": baseline}


class SparesBaselines(ASHAScheduler):
    """Lets the defaults of the families finish, as the study does."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stops or goes on."""
        decision = super().on_trial_result(tune_controller, trial, result)
        if trial.config["baseline"] and result["training_iteration"] < trial.config["epochs"]:
            return TrialScheduler.CONTINUE
        return decision


def scheduler(name: str, epochs: int) -> TrialScheduler:
    """Successive halving from a fifth of the epochs on, or none."""
    if name == "none":
        return FIFOScheduler()
    return SparesBaselines(
        metric="validation/r2",
        mode="max",
        max_t=epochs,
        grace_period=first_rung(epochs),
        reduction_factor=REDUCTION,
    )


def main(argv: Sequence[str]) -> None:
    """Runs the study."""
    arguments = _parsed(argv)
    data = torch.load(arguments.data, weights_only=False)
    points = json.loads(arguments.points.read_text(encoding="utf-8"))
    space = mirrored_space(arguments.epochs)
    ray.init(address="local", include_dashboard=False)
    tuner(arguments, data, points, space).fit()


def tuner(
    arguments: Namespace, data: dict[str, list[Data]], points: list[dict[str, Any]], space: Space
) -> tune.Tuner:
    """The study, put together."""
    resources = {"cpu": 1.0, "gpu": float(torch.cuda.is_available())}
    folder = arguments.folder.resolve()
    recorder = MLflowLoggerCallback(f"sqlite:///{folder / 'mlflow.db'}", experiment_name="plain")
    trainable = tune.with_parameters(train, data=data, notes=folder / NOTES)
    return tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(
                partial(define_by_run, space, Notes(folder / NOTES)),
                metric="validation/r2",
                mode="max",
                points_to_evaluate=points,
                seed=arguments.seed,
            ),
            scheduler=scheduler(arguments.scheduler, arguments.epochs),
            num_samples=arguments.trials,
            max_concurrent_trials=arguments.max_concurrent,
        ),
        run_config=tune.RunConfig(name="plain", storage_path=str(folder), callbacks=[recorder]),
    )


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_argument(
        "--data", type=typed_path, required=True, help="the molecules, from torch.save"
    )
    parser.add_argument(
        "--points", type=typed_path, required=True, help="the first points, as JSON"
    )
    parser.add_argument(
        "--folder", type=typed_path, required=True, help="for everything it writes"
    )
    parser.add_argument("--trials", type=positive, required=True)
    parser.add_argument("--epochs", type=positive, required=True, help="of each trial")
    parser.add_argument("--seed", type=not_negative, required=True)
    parser.add_argument("--scheduler", choices=("asha", "none"), required=True)
    parser.add_argument("--max-concurrent", type=positive, required=True, help="trials at once")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
