"""How did the best trial of each family learn: train and validation error over epochs.

    python analysis/loss_curves.py NAME

draws runs/NAME/report/loss_curves.png and .pdf, with the numbers behind them in loss_curves.csv.
All curves are mean squared errors in the square of the target's unit, whatever a trial's own loss:
a trial that standardizes its target divides the squared error by the variance of the train split,
which is its ``validation/mse`` over its ``validation/loss``. The training error is the mean over
the batches of an epoch, seen while the weights change and with dropout: it is drawn at the middle
of its epoch, and may lie above the validation error.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from analysis import command_line, style
from analysis.runs import History, StudyRuns, TrackingStore, TrialRun
from datasets.errors import InputError

FEW_EPOCHS = 20
"""Up to so many epochs each one gets a marker; a single epoch is no line."""

STEPS = ((10, (1, 2, 3, 5, 7)), (2000, (1, 2, 5)))
"""Below which ratio of the largest to the smallest error which multiples of the powers of ten are
labelled; above, only the powers are."""

PANEL = (2.6, 2.3)
"""Width and height of a panel, in inches."""


@dataclass(frozen=True)
class Curves:
    """The error of one trial over its epochs.

    Attributes:
        trial: The trial.
        train: Mean squared error over the batches of each epoch, in the target's unit squared.
        validation: Mean squared error after each epoch, in the target's unit squared.
    """

    trial: TrialRun
    train: History
    validation: History


@dataclass(frozen=True)
class Panel:
    """What is shown of one family; None: no such trial finished."""

    family: str
    best: Curves | None
    baseline: Curves | None


def analyse(study: str, tracking_uri: str, data_dir: Path, report: Path) -> str:
    """Draws the loss curves of a study and publishes them with its parent run.

    Args:
        study: Its name.
        tracking_uri: MLflow's.
        data_dir: Not needed: all that is drawn is in MLflow.
        report: Folder for the files; made if it is not there.

    Returns:
        Where the files are.

    Raises:
        InputError: If there is no such study, or none of its trials finished.
    """
    del data_dir
    store = TrackingStore(tracking_uri)
    runs = store.study(study)
    panels = [_panel(store, runs, family, trials) for family, trials in runs.groups.items()]
    mean = mean_error(runs)
    command_line.make_folder(report)
    table = report / "loss_curves.csv"
    frame(panels, mean, runs).to_csv(table, index=False)
    files = [*_draw(panels, mean, runs.unit, report / "loss_curves"), table]
    store.publish(runs.run_id, files, "report")
    return "loss curves: " + ", ".join(map(str, files))


def mean_error(runs: StudyRuns) -> float:
    """Mean squared error of predicting the validation split's own mean for every sample.

    In the target's unit squared. It is that split's variance, which R² = 1 - MSE / variance gives
    back from what any trial recorded.

    Raises:
        InputError: If no trial finished, or the trials recorded no R².
    """
    best = runs.best(runs.trials)
    if best is None:
        raise InputError(f"no trial of {runs.name} finished, so there is nothing to compare")
    return _recorded(best, "validation/mse") / (1 - _recorded(best, "validation/r2"))


def frame(panels: Sequence[Panel], mean: float, runs: StudyRuns) -> pd.DataFrame:
    """The numbers behind the figure, one row an epoch of a curve's trial."""
    tables = [
        _numbers({runs.by: panel.family, "role": role}, curves, mean, style.squared(runs.unit))
        for panel in panels
        for role, curves in (("best", panel.best), ("baseline", panel.baseline))
        if curves is not None
    ]
    return pd.concat(tables, ignore_index=True)


def _numbers(who: Mapping[str, str], curves: Curves, mean: float, unit: str) -> pd.DataFrame:
    train, validation = curves.train, curves.validation
    table = pd.DataFrame(
        {
            "trial": curves.trial.number,
            f"train mse ({unit})": pd.Series(train.values, train.epochs),
            f"validation mse ({unit})": pd.Series(validation.values, validation.epochs),
            f"predicting the mean mse ({unit})": mean,
        }
    )
    table.insert(1, "epoch", table.index)
    for place, (name, value) in enumerate(who.items()):
        table.insert(place, name, value)
    return table


def _panel(
    store: TrackingStore, runs: StudyRuns, family: str, trials: Sequence[TrialRun]
) -> Panel:
    best = runs.best(trials)
    baseline = runs.best(trial for trial in trials if trial.baseline)
    return Panel(
        family=family,
        best=_curves(store, best) if best else None,
        baseline=_curves(store, baseline) if baseline else None,
    )


def _curves(store: TrackingStore, trial: TrialRun) -> Curves:
    train = store.history(trial, "train/loss")
    # Squared error by loss: the variance that this trial's loss is measured in.
    scale = _recorded(trial, "validation/mse") / _recorded(trial, "validation/loss")
    return Curves(
        trial=trial,
        train=History(train.epochs, train.values * scale),
        validation=store.history(trial, "validation/mse"),
    )


def _recorded(trial: TrialRun, metric: str) -> float:
    if metric not in trial.metrics:
        raise InputError(f"trial {trial.number} has no {metric}: expected a study of molecules")
    return trial.metrics[metric]


def _draw(panels: Sequence[Panel], mean: float, unit: str, path: Path) -> list[Path]:
    def paint(axes: Sequence[Axes]) -> None:
        for axis, panel in zip(axes, panels, strict=True):
            _paint_panel(axis, panel, mean)
        for axis in axes:  # they share the range of all curves, which decides where ticks go
            _paint_scales(axis)

    labels = ("epoch", f"mean squared error ({style.squared(unit)})")
    return style.draw(path, PANEL, len(panels), labels, paint)


def _paint_scales(axis: Axes) -> None:
    low, high = axis.get_ylim()
    labelled = next((steps for ratio, steps in STEPS if high < ratio * low), (1,))
    axis.yaxis.set_major_locator(LogLocator(subs=labelled))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="y", lw=0.4, color=style.LIGHT)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))


def _paint_panel(axis: Axes, panel: Panel, mean: float) -> None:
    axis.set_yscale("log")
    axis.axhline(mean, color=style.GREY, ls="--", lw=1, label="predicting the mean (R² = 0)")
    family = style.title(panel.family)
    if panel.best is None:
        axis.set_title(family)
        axis.text(0.5, 0.5, "no finished trial", transform=axis.transAxes, ha="center")
        return
    best, baseline = panel.best, panel.baseline
    is_baseline = baseline is not None and baseline.trial.number == best.trial.number
    axis.set_title(f"{family}, trial {best.trial.number}" + ", the baseline" * is_baseline)
    if baseline is not None and not is_baseline:
        _line(axis, baseline.validation, 0, style.VERMILLION, "-.", "baseline, validation")
    _line(axis, best.train, 0.5, style.SKY, "-", "best trial, train\n(mean over the epoch)")
    _line(axis, best.validation, 0, style.BLUE, "-", "best trial, validation")


def _line(axis: Axes, curve: History, early: float, color: str, dashes: str, name: str) -> None:
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
        lambda typed, uri, report: analyse(typed.study, uri, Path(), report),
    )


if __name__ == "__main__":
    sys.exit(main())
