"""The rows of docs/results/driving.csv, one training of a world model each."""

import json
import math
from dataclasses import dataclass
from typing import Any

from analysis import rollout_scores
from analysis.rollout_scores import RolloutScores
from benchmarks.chosen_finalists import champion, every_finalist
from benchmarks.result_table import RESULTS, ResultTable, common_columns, scored
from datasets.driving import DrivingOptions
from record import names
from record.recorded_study import RecordedStudy
from record.trial import Trial
from record.values import made_of
from trainables.models.world_model import WorldModel, WorldModelConfig

LONGEST = 149
"""The horizon up to which free-running errors are averaged, or as far as the episodes go."""


@dataclass(frozen=True)
class Row:
    """One training; errors are those on the test episodes, as shares of a baseline's.

    Attributes:
        experiment: The experiment whose result it is.
        split: The option ``--split`` of its study, or its default.
        data: Digest of the recordings.
        core: Of the network.
        decoder: Of the network.
        seed: Of the training.
        epochs: Passes over the train split.
        parameters: Number of trained weights.
        validation_skill: The study's objective on the validation episodes.
        validation_one_step: One-step error on the validation episodes, of persistence.
        one_step: One-step error, of persistence.
        one_step_mse: One-step mean squared error, in squared pixel values.
        free_1: Free-running error at horizon 1, of freeze; and so on; NaN beyond the episodes.
        free_mean: Free-running error averaged over horizons 1 to `LONGEST`, of freeze.
        free_mean_of_climatology: The average that `free_mean` is made of, of climatology.
        below_both: Number of horizons up to `LONGEST` at which the free-running error is below
            that of freeze and that of climatology.
        ssim: Structural similarity of the free-running frames, mean over horizons 1 to `LONGEST`.
        seconds: Of training, on the clock, whatever else the machine did.
        device: ``cpu``, or what the GPU calls itself.
        config: The whole configuration as JSON.
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
    def configuration(self) -> WorldModelConfig:
        """The configuration that was trained."""
        return WorldModelConfig(**json.loads(self.config))


def row(experiment: str, study: RecordedStudy, final: Trial) -> Row:
    """Makes the row of a final.

    Raises:
        InputError: If it was not scored, or another version of the code recorded it.
    """
    config = made_of(WorldModelConfig, final.config)
    metrics = final.reports[-1].metrics
    columns = common_columns(experiment, study, final, config)
    options = study.data_options(DrivingOptions)
    return Row(
        **columns | {"split": options.split_method},
        data=study.params[names.DIGEST],
        core=config.core,
        decoder=config.decoder,
        parameters=parameters(config, study.params[f"{names.FACTS}pixels"]),
        validation_skill=round(metrics["validation/skill"], 5),
        validation_one_step=round(metrics["validation/persistence_ratio"], 5),
        **scores(scored(study, final, rollout_scores.of_trial)),
    )


def parameters(config: WorldModelConfig, size: int) -> int:
    """Number of trained weights of a configuration for frames of so many pixels on a side."""
    return sum(weights.numel() for weights in WorldModel(config, size).parameters())


def scores(made: RolloutScores) -> dict[str, Any]:
    """The columns of a row that rollouts of the test episodes decide."""
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
    rounded = {name: float(f"{value:.5g}") for name, value in found.items()}
    return rounded | {"below_both": made.horizons_below_both(LONGEST)}


TABLE = ResultTable(
    file=RESULTS / "driving.csv",
    kind=Row,
    order=lambda row: (row.experiment, row.decoder, row.config),
    studies=("world-model", "homework-loop"),
    experiments={
        "best": champion,
        **dict.fromkeys(("presets", "loop", "long", "both", "64", "random"), every_finalist),
    },
    row=row,
)
