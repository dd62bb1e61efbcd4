"""The rows of docs/results/gnn.csv: one fit each, see `benchmarks.gnn_fits`."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import get_type_hints

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
    def key(self) -> tuple[str, str, str]:
        """As `Fit.key`."""
        return self.experiment, self.split, self.config

    @property
    def configuration(self) -> GNNConfig:
        """What `config` says."""
        return GNNConfig(**json.loads(self.config))


def read_rows(path: Path = RESULTS) -> list[Row]:
    """The rows so far; none if there is no file."""
    if not path.is_file():
        return []
    kinds = get_type_hints(Row)
    with path.open(newline="") as file:
        return [
            Row(**{name: kinds[name](value) for name, value in row.items()})
            for row in csv.DictReader(file)
        ]


def write_rows(rows: Iterable[Row], path: Path = RESULTS) -> None:
    """Writes all rows, sorted, beside and then renamed."""
    ordered = sorted(
        rows, key=lambda row: (row.experiment, row.train, row.family, row.depth, row.seed)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".partial")
    with beside.open("w", newline="") as file:
        table = csv.DictWriter(file, [*get_type_hints(Row)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in ordered)
    beside.rename(path)


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
