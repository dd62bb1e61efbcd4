"""Draws the learning curves of the best trial of each family, or core: train and
validation error over the epochs.

    python analysis/loss_curves.py NAME

writes runs/NAME/report/loss_curves.png and .pdf, with the numbers behind them in loss_curves.csv.
The study's scorecard chooses quantity and unit (`analysis.scorecard.Scorecard.learning`). A
training error that is a mean over an epoch, taken while the weights change, is drawn at the middle
of its epoch, and may lie above the validation error.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import analysis  # noqa: F401 - finds folders for Matplotlib where the user has none

# isort: split
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from analysis import cards, style
from analysis.cards import Card
from analysis.curves import Curve, Learning, of_the_objective
from record.recorded_study import RecordedStudy
from record.trial import Trial

FEW_EPOCHS = 20
"""Largest number of epochs at which each gets a marker; without one, a single epoch would be
invisible."""

STEPS = ((10, (1, 2, 3, 5, 7)), (2000, (1, 2, 5)))
"""Tick labels of a logarithmic axis: below each ratio of the largest to the smallest error, the
multiples of powers of ten that are labelled; above the last, only the powers are."""

PANEL = (2.6, 2.3)
"""Width and height of a panel, in inches."""


@dataclass(frozen=True)
class Curves:
    """The learning curves of one trial.

    Attributes:
        trial: The trial.
        train: Its curve on the train split; empty if the study records none.
        validation: Its curve on the validation split, after each epoch.
    """

    trial: Trial
    train: Curve
    validation: Curve


@dataclass(frozen=True)
class Panel:
    """The curves shown for one family: its best trial and its baseline, each None if no such
    trial finished."""

    family: str
    best: Curves | None
    baseline: Curves | None


def make(study: RecordedStudy) -> Card:
    """Makes the card of a study's loss curves.

    Raises:
        InputError: If no trial finished.
    """
    scorecard = study.definition.scorecard
    learning = of_the_objective(study) if scorecard is None else scorecard.learning(study)
    panels = [_panel(study, group, trials, learning) for group, trials in study.groups.items()]
    return Card(
        title="loss curves",
        name="loss_curves",
        text="",
        table=frame(panels, learning, study.group_by),
        figures={"loss_curves": _draw(panels, learning)},
        captions={"loss_curves": learning.caption},
    )


def frame(panels: Sequence[Panel], learning: Learning, group_by: str) -> pd.DataFrame:
    """Returns the numbers behind the figure, one row per trial and epoch."""
    tables = [
        _numbers({group_by: panel.family, "role": role}, curves, learning)
        for panel in panels
        for role, curves in (("best", panel.best), ("baseline", panel.baseline))
        if curves is not None
    ]
    return pd.concat(tables, ignore_index=True)


def _numbers(who: Mapping[str, str], curves: Curves, learning: Learning) -> pd.DataFrame:
    train, validation = curves.train, curves.validation
    called = learning.name + (f" ({learning.unit})" if learning.unit else "")
    columns: dict[str, Any] = {"trial": curves.trial.number}
    if len(train.epochs):
        columns[f"train {called}"] = pd.Series(train.values, train.epochs)
    columns[f"validation {called}"] = pd.Series(validation.values, validation.epochs)
    if learning.reference:
        columns[f"{learning.reference} {called}"] = learning.level
    table = pd.DataFrame(columns)
    table.insert(1, "epoch", table.index)
    for place, (name, value) in enumerate(who.items()):
        table.insert(place, name, value)
    return table


def _panel(
    study: RecordedStudy, family: str, trials: Sequence[Trial], learning: Learning
) -> Panel:
    best = study.best(trials)
    baseline = study.best(trial for trial in trials if trial.is_baseline)
    return Panel(
        family=family,
        best=_curves(best, learning) if best else None,
        baseline=_curves(baseline, learning) if baseline else None,
    )


def _curves(trial: Trial, learning: Learning) -> Curves:
    return Curves(trial, learning.train(trial), learning.validation(trial))


def _draw(panels: Sequence[Panel], learning: Learning) -> Figure:
    def paint(axes: Sequence[Axes]) -> None:
        for axis, panel in zip(axes, panels, strict=True):
            _paint_panel(axis, panel, learning)
        for axis in axes:  # after all curves are drawn: the shared range decides where ticks go
            _paint_scales(axis, learning)

    return style.draw(PANEL, len(panels), ("epoch", learning.quantity), paint)


def _paint_scales(axis: Axes, learning: Learning) -> None:
    if learning.is_error:
        low, high = axis.get_ylim()
        labelled = next((steps for ratio, steps in STEPS if high < ratio * low), (1,))
        axis.yaxis.set_major_locator(LogLocator(subs=labelled))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="y", lw=0.4, color=style.LIGHT)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))


def _paint_panel(axis: Axes, panel: Panel, learning: Learning) -> None:
    axis.set_yscale("log" if learning.is_error else "linear")
    if learning.reference:
        axis.axhline(learning.level, color=style.GREY, ls="--", lw=1, label=learning.mark)
    family = style.title(panel.family)
    if panel.best is None:
        axis.set_title(family)
        axis.text(0.5, 0.5, "no finished trial", transform=axis.transAxes, ha="center")
        return
    best, baseline = panel.best, panel.baseline
    early, how = (0.5, "\n(mean over the epoch)") if learning.during else (0.0, "")
    is_baseline = baseline is not None and baseline.trial.number == best.trial.number
    axis.set_title(f"{family}, trial {best.trial.number}" + ", the baseline" * is_baseline)
    if baseline is not None and not is_baseline:
        _line(axis, baseline.train, early, style.ORANGE, ":", f"baseline, train{how}")
        _line(axis, baseline.validation, 0, style.VERMILLION, "-.", "baseline, validation")
    _line(axis, best.train, early, style.SKY, "-", f"best trial, train{how}")
    _line(axis, best.validation, 0, style.BLUE, "-", "best trial, validation")


def _line(axis: Axes, curve: Curve, early: float, color: str, dashes: str, name: str) -> None:
    """Draws a curve unless it is empty, shifted to the left by `early` epochs."""
    if not len(curve.epochs):
        return
    marker = "." if len(curve.epochs) <= FEW_EPOCHS else ""
    epochs = curve.epochs - early
    axis.plot(epochs, curve.values, color=color, ls=dashes, marker=marker, label=name)


def main(argv: Sequence[str] | None = None) -> int:
    """Draws a study's learning curves from the command line; returns the exit code."""
    return cards.main("Draws how the best trial of each family learned.", make, argv)


if __name__ == "__main__":
    sys.exit(main())
