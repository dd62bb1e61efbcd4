"""The rows of docs/results/gnn.csv: one fit each, see `benchmarks.gnn_fits`."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from benchmarks.fits import Key, Table
from datasets.errors import InputError
from trainables.models.gnn import GNNConfig

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "gnn.csv"


@dataclass(frozen=True)
class Row:
    """What came of a fit; errors in the unit of the target, `seconds` on the clock, whatever else
    the machine did."""

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
    def key(self) -> Key:
        """As `Fit.key`."""
        return self.experiment, self.split, self.config

    @property
    def configuration(self) -> GNNConfig:
        """What `config` says."""
        return GNNConfig(**json.loads(self.config))

    @property
    def summary(self) -> str:
        """What is said when it is there."""
        return (
            f"{self.family} seed {self.seed}, {self.train:,} molecules, depth {self.depth}: test "
            f"R² {self.test_r2:.4f}, MAE {self.test_mae:.4f}, {self.seconds:.0f} s"
        )


def table(path: Path = RESULTS) -> Table[Row]:
    """The table of these rows."""
    return Table(
        path, Row, lambda row: (row.experiment, row.train, row.family, row.depth, row.seed)
    )


def read_rows(path: Path = RESULTS) -> list[Row]:
    """The rows so far; none if there is no file."""
    return table(path).read()


def champion(rows: Iterable[Row]) -> GNNConfig:
    """Of the configurations that a study found, the one with the highest validation R² over fresh
    seeds; its seed is the default one.

    Raises:
        InputError: If there is none.
    """
    found: dict[GNNConfig, list[float]] = defaultdict(list)
    for row in rows:
        if row.experiment == "best":
            found[replace(row.configuration, seed=GNNConfig.seed)].append(row.validation_r2)
    if not found:
        raise InputError("no best configurations in the table: run gnn_fits.py best first")
    return max(found, key=lambda config: mean(found[config]))
