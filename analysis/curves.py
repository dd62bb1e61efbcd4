"""Learning curves: a trial's metrics over its epochs, and what a study's loss figure shows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datasets.errors import InputError
from record.recorded_study import RecordedStudy
from record.trial import Trial


@dataclass(frozen=True)
class Curve:
    """A metric over the epochs of a trial.

    Attributes:
        epochs: (epochs,) int64, ascending, counted from 1; only epochs that have the metric.
        values: (epochs,) float64, the metric after each of them.
    """

    epochs: np.ndarray
    values: np.ndarray

    def times(self, factor: float) -> "Curve":
        """Returns the curve with its values multiplied by a factor."""
        return Curve(self.epochs, self.values * factor)


def curve(trial: Trial, metric: str) -> Curve:
    """Returns the curve of a trial's metric; it is empty if the trial never reported it."""
    points = [
        (each.epoch, each.metrics[metric]) for each in trial.reports if metric in each.metrics
    ]
    return Curve(
        np.array([epoch for epoch, _ in points], np.int64),
        np.array([value for _, value in points], np.float64),
    )


def training_seconds(trial: Trial) -> float:
    """Returns the seconds a trial spent training, over all sessions, without validation."""
    return float(curve(trial, "train/seconds").values.sum())


def last_metrics(trial: Trial) -> dict[str, float]:
    """Returns all metrics after the trial's last epoch; empty if it has reported none."""
    return dict(trial.reports[-1].metrics) if trial.reports else {}


@dataclass(frozen=True)
class Learning:
    """The contents of a study's figure of learning curves.

    Attributes:
        quantity: Label of the vertical axis, with the unit.
        name: Name of the quantity in the header of a table.
        unit: Unit of the quantity in the table; empty if it has none.
        train: Returns a trial's curve on the train split; empty if the trial has none.
        validation: Returns a trial's curve on the validation split.
        caption: A sentence that says what the figure shows.
        reference: Name of the baseline drawn as a horizontal line; empty for none.
        level: Value of that baseline, in the unit of the quantity.
        mark: Label of that baseline in the legend.
        during: Whether the training curve holds means over an epoch, not values at its end.
        is_error: Whether the quantity is positive and lower is better; its axis is then
            logarithmic.
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
    """Returns the default figure: the objective over the epochs, and, if recorded, the metric of
    the same name on the train split.

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
    """Returns a metric after the last epoch of a trial.

    Raises:
        InputError: If the trial has no metric of that name.
    """
    value = trial.value(metric)
    if value is None:
        raise InputError(f"trial {trial.number} has no {metric}, which the study wrote")
    return value
