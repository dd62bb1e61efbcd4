"""A metric over the epochs of a trial."""

from dataclasses import dataclass

import numpy as np

from record.trial import Trial


@dataclass(frozen=True)
class Curve:
    """A metric over epochs.

    Attributes:
        epochs: (epochs,) int64, ascending, from 1; those that have the metric.
        values: (epochs,) float64.
    """

    epochs: np.ndarray
    values: np.ndarray


def curve(trial: Trial, metric: str) -> Curve:
    """A metric of a trial; empty if it has none of that name."""
    points = [
        (each.epoch, each.metrics[metric]) for each in trial.reports if metric in each.metrics
    ]
    return Curve(
        np.array([epoch for epoch, _ in points], np.int64),
        np.array([value for _, value in points], np.float64),
    )


def training_seconds(trial: Trial) -> float:
    """How long a trial has trained, in all of its sessions; without validation."""
    return float(curve(trial, "train/seconds").values.sum())


def last_metrics(trial: Trial) -> dict[str, float]:
    """All metrics after the last epoch; none before the first."""
    return dict(trial.reports[-1].metrics) if trial.reports else {}
