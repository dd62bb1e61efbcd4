"""The rows of docs/results/controllers.csv, one training of a controller each."""

import json
import math
from dataclasses import dataclass

import numpy as np

from analysis.controller_scorecard import CEILING
from benchmarks.chosen_finalists import trainings
from benchmarks.result_table import RESULTS, ResultTable, common_columns, scored
from datasets.driving import DrivingOptions
from record import names
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial
from record.values import made_of
from trainables.controller_config import ControllerConfig


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        experiment: The experiment whose result it is.
        split: How the recorded drives are split, from which vision and memory learn.
        data: Digest of the drives and the tracks.
        vision: What the controller sees by.
        memory: What it remembers by.
        seed: Of the training.
        epochs: Of vision and memory, and generations.
        environment_steps: Steps that the candidates drove.
        reconstruction_mse: Mean squared error of a pixel, from 0 to 1, of what the vision draws of
            validation frames; nan if its training measures none.
        diversity: How far frames lie apart that are drawn from the vision's prior, see
            `trainables.visions.autoencoder.diversity`; nan if it has none.
        validation_return: Mean return of the last generation's mean on the validation tracks.
        test_return: On the test tracks.
        tiles: Share of the test tracks' tiles that were reached.
        seconds: Of the trial's epochs, on the clock, whatever else the machine did; vision and
            memory take none where another trial has trained them. Validation drives are left out.
        device: ``cpu``, or what the GPU calls itself.
        config: The whole configuration as JSON.
    """

    experiment: str
    split: str
    data: str
    vision: str
    memory: str
    seed: int
    epochs: int
    environment_steps: int
    reconstruction_mse: float
    diversity: float
    validation_return: float
    test_return: float
    tiles: float
    seconds: float
    device: str
    config: str

    @property
    def configuration(self) -> ControllerConfig:
        """The configuration that was trained."""
        return ControllerConfig(**json.loads(self.config))


def row(experiment: str, study: RecordedStudy, final: Trial) -> Row:
    """Makes the row of a final.

    Raises:
        InputError: If it was not scored, or another version of the code recorded it.
    """
    config = made_of(ControllerConfig, final.config)
    metrics, test = final.reports[-1].metrics, scored(study, final, _outcomes)
    columns = common_columns(experiment, study, final, config)
    columns["split"] = study.data_options(DrivingOptions).split_method
    seen = final.reports[config.vision_epochs - 1].metrics
    return Row(
        **columns,
        data=study.params[names.DIGEST],
        vision=config.vision,
        memory=config.memory,
        environment_steps=round(metrics["train/environment_steps"]),
        reconstruction_mse=round(seen.get("validation/reconstruction_mse", math.nan), 6),
        diversity=round(seen.get("validation/diversity", math.nan), 4),
        validation_return=round(metrics["validation/return"], 1),
        test_return=round(float((CEILING - test.errors).mean()), 1),
        tiles=round(float(np.mean(test.more["tiles"])), 4),
    )


def _outcomes(study: RecordedStudy, final: Trial) -> Outcomes | None:
    return study.artifacts.outcomes(final)


def _all(study: RecordedStudy) -> list[int]:
    return [*trainings(study)]


TABLE = ResultTable(
    file=RESULTS / "controllers.csv",
    kind=Row,
    order=lambda row: (row.experiment, row.vision, row.memory, row.config),
    studies=("controller",),
    experiments={"long": _all, "verdicts": _all},
    row=row,
)
