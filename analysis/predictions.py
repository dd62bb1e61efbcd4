"""Test predictions of a trial of molecules."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analysis import kept_weights
from datasets.sources import MoleculeSet
from datasets.standardize import Standardizer
from record.recorded_study import RecordedStudy
from record.trial import Trial
from record.values import made_of
from trainables.models.gnn import GNN, GNNConfig
from trainables.molecules import MoleculeTask


@dataclass(frozen=True)
class Predictions:
    """What a trial predicts for the test split.

    Attributes:
        row: (molecules,) int64, of the molecule table.
        target: (molecules,) float64, in the target's unit.
        prediction: (molecules,) float64, in the target's unit.
    """

    row: np.ndarray
    target: np.ndarray
    prediction: np.ndarray

    def errors(self) -> np.ndarray:
        """(molecules,), squared errors."""
        return (self.prediction - self.target) ** 2

    def reference(self) -> np.ndarray:
        """(molecules,), those of predicting the targets' mean: 1 - the ratio of the sums is R²."""
        return (self.target - self.target.mean(axis=0)) ** 2


def of_trial(study: RecordedStudy, trial: Trial) -> Predictions | None:
    """What a trial predicts for the test split; None where it was not scored.

    Raises:
        InputError: If the file that says so is damaged, or another version of the code wrote it.
    """
    outcomes = study.artifacts.outcomes(trial)
    return None if outcomes is None else made_of(Predictions, outcomes.more)


def restore(trial: Trial, weights: dict[str, Any]) -> GNN:
    """The model of a trial, see `kept_weights.restore`."""
    # Mean and standard deviation of the target come with the weights.
    fresh = Standardizer(mean=0.0, std=1.0)
    return kept_weights.restore(trial, weights, lambda config: GNN(GNNConfig(**config), fresh))


def checked(trial: Trial, weights: dict[str, Any], data: MoleculeSet) -> tuple[GNN, MoleculeTask]:
    """The model of a trial, and its task, after a look at the validation split.

    Raises:
        InputError: If the weights are those of other features or another version of the model.
    """
    model = restore(trial, weights)
    task = MoleculeTask(data, GNNConfig(**weights["config"]), torch.device("cpu"))
    kept_weights.check_unchanged(trial, task.evaluate(model))
    return model, task
