"""Test predictions of a molecule study's trial, and its restored model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.polynomial import Polynomial

from analysis import kept_weights
from datasets.graphs import Graphs
from datasets.sources import MoleculeSet
from datasets.splits import Split
from datasets.standardize import Standardizer
from record.recorded_study import RecordedStudy
from record.trial import Trial
from record.values import made_of
from trainables.models.gnn import GNN, GNNConfig
from trainables.molecules import MoleculeTask

PRIOR, LINE = "GFN2-xTB alone", "GFN2-xTB with a fitted line"
"""What predicts molecules without a network: the prior, and a line fitted to it."""


@dataclass(frozen=True)
class Predictions:
    """A trial's predictions for the test split.

    Attributes:
        row: (molecules,) int64, row of each molecule in the molecule table.
        target: (molecules,) float64, in the target's unit.
        prediction: (molecules,) float64, in the target's unit.
        prior: (molecules,) float64, the prior alone, in the target's unit; empty without a prior.
        line: (molecules,) float64, a line through the priors of the train split, fitted to its
            targets; empty without a prior.
    """

    row: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    prior: np.ndarray
    line: np.ndarray

    @property
    def of_prior(self) -> Mapping[str, np.ndarray]:
        """What predicts the test split without a network, by what it is called; empty without a
        prior."""
        if not len(self.prior):
            return {}
        return {PRIOR: self.prior, LINE: self.line}

    def errors(self) -> np.ndarray:
        """Returns squared errors, (molecules,), in the square of the target's unit."""
        return (self.prediction - self.target) ** 2

    def reference(self) -> np.ndarray:
        """Returns the squared errors of predicting the targets' mean, (molecules,).

        R² is 1 - sum of `errors` / sum of these.
        """
        return (self.target - self.target.mean(axis=0)) ** 2


def of_prior(graphs: Graphs, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Predicts the test split by the prior alone, and by a line through the priors of the train
    split, fitted to its targets by least squares.

    Returns:
        Two arrays (molecules,), in the target's unit; empty ones without a prior.
    """
    if graphs.prior is None:
        return np.empty(0), np.empty(0)
    lengths = np.linalg.norm(graphs.prior.astype(float), axis=1)
    line = Polynomial.fit(lengths[split.train], graphs.targets[split.train], deg=1)
    return lengths[split.test], line(lengths[split.test])


def of_trial(study: RecordedStudy, trial: Trial) -> Predictions | None:
    """Returns a trial's recorded test predictions; None if it was not scored.

    Raises:
        InputError: If their file is damaged, or was written by another version of the code.
    """
    outcomes = study.artifacts.outcomes(trial)
    return None if outcomes is None else made_of(Predictions, outcomes.more)


def restore(trial: Trial, weights: dict[str, Any]) -> GNN:
    """Rebuilds a trial's graph neural network from its weights, see `kept_weights.restore`.

    Raises:
        InputError: If the weights do not fit this version of the model.
    """
    # Mean and standard deviation of the target come with the weights.
    fresh = Standardizer(mean=0.0, std=1.0)
    return kept_weights.restore(trial, weights, lambda config: GNN(GNNConfig(**config), fresh))


def checked(trial: Trial, weights: dict[str, Any], data: MoleculeSet) -> tuple[GNN, MoleculeTask]:
    """Rebuilds a trial's model and its task, and checks it against the recorded validation error.

    Raises:
        InputError: If the weights belong to other features or another version of the model.
    """
    model = restore(trial, weights)
    task = MoleculeTask(data, GNNConfig(**weights["config"]), torch.device("cpu"))
    kept_weights.check_unchanged(trial, task.evaluate(model))
    return model, task
