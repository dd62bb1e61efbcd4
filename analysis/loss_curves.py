"""How did the best trial of each family, or recurrent core, learn: train and validation error over
epochs.

    python analysis/loss_curves.py NAME

draws runs/NAME/report/loss_curves.png and .pdf, with the numbers behind them in loss_curves.csv.
All curves are mean squared errors in one unit, whatever a trial's own loss.

Molecules: in the square of the target's unit. A trial that standardizes its target divides the
squared error by the variance of the train split, which is its ``validation/mse`` over its
``validation/loss``. The training error is the mean over the batches of an epoch, seen while the
weights change and with dropout: it is drawn at the middle of its epoch, and may lie above the
validation error.

Drives: the one-step error, in squared pixel values, of some training episodes and of the
validation episodes, both measured after the epoch.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import analysis  # noqa: F401 - finds folders for Matplotlib where the user has none

# isort: split
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from analysis import command_line, findings, style
from analysis.curves import Curve, curve, last_metrics
from analysis.findings import Findings, OpenData
from datasets.errors import InputError
from record.recorded_study import RecordedStudy
from record.trial import Trial

FEW_EPOCHS = 20
"""Up to so many epochs each one gets a marker; a single epoch is no line."""

STEPS = ((10, (1, 2, 3, 5, 7)), (2000, (1, 2, 5)))
"""Below which ratio of the largest to the smallest error which multiples of the powers of ten are
labelled; above, only the powers are."""

COPYING = "validation/persistence_ratio"
"""The metric that tells a study of drives: its one-step error as a share of copying's."""

PANEL = (2.6, 2.3)
"""Width and height of a panel, in inches."""


@dataclass(frozen=True)
class Errors:
    """What is drawn of a study.

    Attributes:
        quantity: On the axis, with the unit.
        unit: Of the errors.
        reference: What the model is compared with.
        level: Its mean squared error on the validation split.
        mark: What to say of the reference in the legend.
        during: Whether the training error is the mean over an epoch, not one after it.
    """

    quantity: str
    unit: str
    reference: str
    level: float
    mark: str
    during: bool


@dataclass(frozen=True)
class Curves:
    """The error of one trial over its epochs.

    Attributes:
        trial: The trial.
        train: Mean squared error on the train split, in the unit of `Errors`.
        validation: The same on the validation split, after each epoch.
    """

    trial: Trial
    train: Curve
    validation: Curve


@dataclass(frozen=True)
class Panel:
    """What is shown of one family; None: no such trial finished."""

    family: str
    best: Curves | None
    baseline: Curves | None


def find(study: RecordedStudy, data: OpenData) -> Findings:
    """The loss curves of a study; its data are not needed: all that is drawn is in MLflow.

    Raises:
        InputError: If no trial finished.
    """
    del data
    panels = [_panel(study, family, trials) for family, trials in study.groups.items()]
    errors = errors_of(study)
    return Findings(
        title="loss curves",
        name="loss_curves",
        text="",
        table=frame(panels, errors, study.by),
        figures={"loss_curves": _draw(panels, errors)},
    )


analyse = partial(findings.analyse, find)


def errors_of(study: RecordedStudy) -> Errors:
    """What the errors of a study are, and what they are compared with.

    Of molecules, with predicting the validation split's own mean for every sample: that errs by
    the split's variance, which R² = 1 - MSE / variance gives back from what any trial recorded. Of
    drives, with copying the frame before.

    Raises:
        InputError: If no trial finished, or what the trials recorded is of neither kind.
    """
    best = study.best(study.trials)
    if best is None:
        raise InputError(f"no trial of {study.name} finished, so there is nothing to compare")
    error = _recorded(best, "validation/mse")
    if COPYING in last_metrics(best):
        return Errors(
            quantity="one-step mean squared error\n(squared pixel values)",
            unit="squared pixel values",
            reference="copying the last frame",
            level=error / last_metrics(best)[COPYING],
            mark="copying the last frame",
            during=False,
        )
    unit = style.squared(study.unit)
    return Errors(
        quantity=f"mean squared error ({unit})",
        unit=unit,
        reference="predicting the mean",
        level=error / (1 - _recorded(best, "validation/r2")),
        mark="predicting the mean (R² = 0)",
        during=True,
    )


def frame(panels: Sequence[Panel], errors: Errors, by: str) -> pd.DataFrame:
    """The numbers behind the figure, one row an epoch of a curve's trial."""
    tables = [
        _numbers({by: panel.family, "role": role}, curves, errors)
        for panel in panels
        for role, curves in (("best", panel.best), ("baseline", panel.baseline))
        if curves is not None
    ]
    return pd.concat(tables, ignore_index=True)


def _numbers(who: Mapping[str, str], curves: Curves, errors: Errors) -> pd.DataFrame:
    train, validation, unit = curves.train, curves.validation, errors.unit
    table = pd.DataFrame(
        {
            "trial": curves.trial.number,
            f"train mse ({unit})": pd.Series(train.values, train.epochs),
            f"validation mse ({unit})": pd.Series(validation.values, validation.epochs),
            f"{errors.reference} mse ({unit})": errors.level,
        }
    )
    table.insert(1, "epoch", table.index)
    for place, (name, value) in enumerate(who.items()):
        table.insert(place, name, value)
    return table


def _panel(study: RecordedStudy, family: str, trials: Sequence[Trial]) -> Panel:
    best = study.best(trials)
    baseline = study.best(trial for trial in trials if trial.is_baseline)
    return Panel(
        family=family,
        best=_curves(best) if best else None,
        baseline=_curves(baseline) if baseline else None,
    )


def _curves(trial: Trial) -> Curves:
    return Curves(
        trial=trial,
        train=_training_error(trial),
        validation=curve(trial, "validation/mse"),
    )


def _training_error(trial: Trial) -> Curve:
    if "train/mse" in last_metrics(trial):
        return curve(trial, "train/mse")
    train = curve(trial, "train/loss")
    # Squared error by loss: the variance that this trial's loss is measured in.
    scale = _recorded(trial, "validation/mse") / _recorded(trial, "validation/loss")
    return Curve(train.epochs, train.values * scale)


def _recorded(trial: Trial, metric: str) -> float:
    value = trial.value(metric)
    if value is None:
        raise InputError(
            f"trial {trial.number} has no {metric}: expected a study of molecules or of drives"
        )
    return value


def _draw(panels: Sequence[Panel], errors: Errors) -> Figure:
    def paint(axes: Sequence[Axes]) -> None:
        for axis, panel in zip(axes, panels, strict=True):
            _paint_panel(axis, panel, errors)
        for axis in axes:  # they share the range of all curves, which decides where ticks go
            _paint_scales(axis)

    return style.draw(PANEL, len(panels), ("epoch", errors.quantity), paint)


def _paint_scales(axis: Axes) -> None:
    low, high = axis.get_ylim()
    labelled = next((steps for ratio, steps in STEPS if high < ratio * low), (1,))
    axis.yaxis.set_major_locator(LogLocator(subs=labelled))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="y", lw=0.4, color=style.LIGHT)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))


def _paint_panel(axis: Axes, panel: Panel, errors: Errors) -> None:
    axis.set_yscale("log")
    axis.axhline(errors.level, color=style.GREY, ls="--", lw=1, label=errors.mark)
    family = style.title(panel.family)
    if panel.best is None:
        axis.set_title(family)
        axis.text(0.5, 0.5, "no finished trial", transform=axis.transAxes, ha="center")
        return
    best, baseline = panel.best, panel.baseline
    early, how = (0.5, "\n(mean over the epoch)") if errors.during else (0.0, "")
    is_baseline = baseline is not None and baseline.trial.number == best.trial.number
    axis.set_title(f"{family}, trial {best.trial.number}" + ", the baseline" * is_baseline)
    if baseline is not None and not is_baseline:
        _line(axis, baseline.train, early, style.ORANGE, ":", f"baseline, train{how}")
        _line(axis, baseline.validation, 0, style.VERMILLION, "-.", "baseline, validation")
    _line(axis, best.train, early, style.SKY, "-", f"best trial, train{how}")
    _line(axis, best.validation, 0, style.BLUE, "-", "best trial, validation")


def _line(axis: Axes, curve: Curve, early: float, color: str, dashes: str, name: str) -> None:
    """Draws a curve, each epoch's point so many epochs early."""
    marker = "." if len(curve.epochs) <= FEW_EPOCHS else ""
    epochs = curve.epochs - early
    axis.plot(epochs, curve.values, color=color, ls=dashes, marker=marker, label=name)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    line = command_line.parser("Draws how the best trial of each family learned.")
    return command_line.answer(
        line,
        argv,
        lambda typed, uri, report: analyse(command_line.folder_of(typed), uri, Path(), report),
    )


if __name__ == "__main__":
    sys.exit(main())
