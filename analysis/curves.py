"""Metrics over the epochs of a trial, and what is drawn of how trials learned."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datasets.errors import InputError
from record.recorded_study import RecordedStudy
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

    def times(self, factor: float) -> "Curve":
        """The curve with its values multiplied."""
        return Curve(self.epochs, self.values * factor)


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


@dataclass(frozen=True)
class Learning:
    """What is drawn of how the trials of a study learned.

    Attributes:
        quantity: What is on the axis, with its unit.
        name: The quantity in the header of a table.
        unit: Of the quantity, for the table; empty: it has none.
        train: Gives a trial's curve on the train split; empty where it has none.
        validation: Gives a trial's curve on the validation split.
        reference: What the trials are compared with; empty: nothing.
        level: Where that is on the axis.
        mark: What the legend says of it.
        during: Whether the training curve is of means over an epoch, not of its end.
        caption: What the figure shows, as a sentence.
        is_error: Whether it is positive, and less is better: the axis is logarithmic then.
    """

    quantity: str
    name: str
    unit: str
    train: Callable[[Trial], Curve]
    validation: Callable[[Trial], Curve]
    caption: str
    reference: str = ""
    level: float = float("nan")
    mark: str = ""
    during: bool = False
    is_error: bool = True


def of_the_objective(study: RecordedStudy) -> Learning:
    """The objective over the epochs, and the metric of the same name on the train split where
    there is one.

    Raises:
        InputError: If no trial finished.
    """
    study.best_or_refuse()
    quantity = study.objective.partition("/")[2] or study.objective
    return Learning(
        quantity=quantity,
        name=quantity,
        unit="",
        train=lambda trial: curve(trial, f"train/{quantity}"),
        validation=lambda trial: curve(trial, study.objective),
        caption=f"{study.objective} over the epochs, of the best trial and of the baseline.",
        is_error=False,
    )


def recorded(trial: Trial, metric: str) -> float:
    """A metric after the last epoch of a trial.

    Raises:
        InputError: If the trial has none of that name.
    """
    value = trial.value(metric)
    if value is None:
        raise InputError(f"trial {trial.number} has no {metric}, which the study wrote")
    return value
