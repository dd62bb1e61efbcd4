"""The rows of docs/results/gnn.csv, one training of a graph neural network each."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np

from analysis import predictions
from benchmarks.chosen_finalists import best_of_each_group, every_finalist
from benchmarks.result_table import RESULTS, ResultTable, common_columns, scored
from datasets.errors import InputError
from datasets.standardize import Standardizer
from record import names
from record.recorded_study import RecordedStudy
from record.trial import Trial
from record.values import made_of
from trainables.models.gnn import GNN, GNNConfig


@dataclass(frozen=True)
class Row:
    """One training; errors are in the unit of the target, or its square.

    Attributes:
        experiment: The experiment whose result it is.
        split: The option ``--split`` of its study.
        family: Of the network.
        seed: Of the training.
        train: Number of training molecules.
        depth: Number of convolutions.
        epochs: Passes over the train split.
        parameters: Number of trained weights.
        seconds: Of training, on the clock, whatever else the machine did; in rows that were
            measured before studies gave them (see docs/results.md) with its evaluations.
        device: ``cpu``, or what the GPU calls itself.
        config: The whole configuration as JSON.
    """

    experiment: str
    split: str
    family: str
    seed: int
    train: int
    depth: int
    epochs: int
    parameters: int
    validation_r2: float
    validation_mae: float
    test_r2: float
    test_mse: float
    test_mae: float
    seconds: float
    device: str
    config: str

    @property
    def configuration(self) -> GNNConfig:
        """The configuration that was trained."""
        return GNNConfig(**json.loads(self.config))


def row(experiment: str, study: RecordedStudy, final: Trial) -> Row:
    """Makes the row of a final.

    Raises:
        InputError: If it was not scored, or another version of the code recorded it.
    """
    config = made_of(GNNConfig, final.config)
    test, metrics = scored(study, final, predictions.of_trial), final.reports[-1].metrics
    return Row(
        **common_columns(experiment, study, final, config),
        family=config.family,
        train=study.params[f"{names.FACTS}train"],
        depth=config.depth,
        parameters=parameters(config),
        validation_r2=round(metrics["validation/r2"], 5),
        validation_mae=round(metrics["validation/mae"], 5),
        test_r2=round(float(1 - test.errors().sum() / test.reference().sum()), 5),
        test_mse=round(float(test.errors().mean(axis=0)), 5),
        test_mae=round(float(np.abs(test.prediction - test.target).mean(axis=0)), 5),
    )


def parameters(config: GNNConfig) -> int:
    """Number of trained weights of a configuration."""
    network = GNN(config, Standardizer(mean=0.0, std=1.0))
    return sum(weights.numel() for weights in network.parameters())


TABLE = ResultTable(
    file=RESULTS / "gnn.csv",
    kind=Row,
    order=lambda row: (row.experiment, row.train, row.family, row.depth, row.seed),
    studies=("gnn",),
    experiments={
        "best": best_of_each_group,
        **dict.fromkeys(
            ("presets", "sizes", "full", "painn_sizes", "depths", "ablations", "losses"),
            every_finalist,
        ),
        "prior": best_of_each_group,
    },
    row=row,
)


def read_rows(file: Path | None = None) -> list[Row]:
    """The rows of docs/results/gnn.csv, or of another file with the same columns."""
    return TABLE.read(file)


def champion(rows: Iterable[Row]) -> GNNConfig:
    """The configuration, of those that a study found best in each family, with the highest mean
    validation R² over fresh seeds; its own seed is the default one.

    Raises:
        InputError: If no row is of a best configuration.
    """
    found: dict[GNNConfig, list[float]] = defaultdict(list)
    for row in rows:
        if row.experiment == "best":
            found[replace(row.configuration, seed=GNNConfig.seed)].append(row.validation_r2)
    if not found:
        raise InputError(
            "no best configurations in the table: python benchmarks/rows.py gnn best STUDY"
        )
    return max(found, key=lambda config: mean(found[config]))
