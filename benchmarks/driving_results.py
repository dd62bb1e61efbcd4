"""The rows of docs/results/driving.csv: one fit each, see `benchmarks.driving_fits`."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.rollout_scores import RolloutScores
from benchmarks.fits import Key, Table
from trainables.models.world_model import WorldModelConfig

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "driving.csv"

LONGEST = 149
"""Horizon up to which free-running errors are averaged, or as far as the episodes go."""


def split_of(split: str, digest: str) -> str:
    """What tells apart the data of fits, see `benchmarks.fits.Fit.split`."""
    return f"{split} of {digest}"


@dataclass(frozen=True)
class Row:
    """What came of a fit, on the test episodes; errors as shares of those of a baseline.

    Attributes:
        data: Digest of the recordings.
        one_step: Of persistence.
        free_1: Free-running error at horizon 1, of freeze; and so on; NaN beyond the episodes.
        free_mean: The same, errors averaged over horizons 1 to `LONGEST`.
        free_mean_of_climatology: As `free_mean`, of climatology.
        below_both: Number of horizons up to `LONGEST` at which the free-running error is below
            that of freeze and that of climatology.
        ssim: Structural similarity of the free-running frames, mean over the same horizons.
        seconds: On the clock, whatever else the machine did.
    """

    experiment: str
    split: str
    data: str
    core: str
    decoder: str
    seed: int
    epochs: int
    parameters: int
    validation_skill: float
    validation_one_step: float
    one_step: float
    one_step_mse: float
    free_1: float
    free_10: float
    free_30: float
    free_50: float
    free_100: float
    free_149: float
    free_mean: float
    free_mean_of_climatology: float
    below_both: int
    ssim: float
    seconds: float
    device: str
    config: str

    @property
    def key(self) -> Key:
        """As `Fit.key`."""
        return self.experiment, split_of(self.split, self.data), self.config

    @property
    def configuration(self) -> WorldModelConfig:
        """What `config` says."""
        return WorldModelConfig(**json.loads(self.config))

    @property
    def summary(self) -> str:
        """What is said when it is there."""
        return (
            f"{self.configuration.title} seed {self.seed}: one-step {self.one_step:.3f} of "
            f"persistence, free-running {self.free_mean:.3f} of freeze and "
            f"{self.free_mean_of_climatology:.3f} of climatology, below both at "
            f"{self.below_both} horizons, {self.seconds:.0f} s"
        )


def scores(made: RolloutScores) -> dict[str, float]:
    """The columns of a row that rollouts decide."""
    free, kept, climatology = (
        made.error(name).mean(axis=0)[:LONGEST]
        for name in ("autoregressive", "freeze", "climatology")
    )
    shares = made.shares("autoregressive", "freeze")
    found = {
        "one_step": made.share("teacher_forced", "persistence"),
        "one_step_mse": made.error("teacher_forced").mean(),
        **{
            f"free_{horizon}": shares[horizon - 1] if horizon <= len(shares) else math.nan
            for horizon in (1, 10, 30, 50, 100, 149)
        },
        "free_mean": made.share("autoregressive", "freeze", LONGEST),
        "free_mean_of_climatology": made.share("autoregressive", "climatology", LONGEST),
        "ssim": made.similarity("autoregressive")[:, :LONGEST].mean(),
    }
    below = (free < np.minimum(kept, climatology)).sum()
    return {name: float(f"{value:.5g}") for name, value in found.items()} | {
        "below_both": int(below)
    }


def table(path: Path = RESULTS) -> Table[Row]:
    """The table of these rows."""
    return Table(path, Row, lambda row: (row.experiment, row.decoder, row.config))


def read_rows(path: Path = RESULTS) -> list[Row]:
    """The rows that are there."""
    return table(path).read()
