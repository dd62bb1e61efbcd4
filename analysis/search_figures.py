"""Figures of a search: the best objective so far, the objective against each hyperparameter, their
importances, and how well early scores predict final ones."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, MaxNLocator, NullFormatter
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats

from analysis import style
from analysis.curves import Curve, curve
from record.recorded_study import RecordedStudy
from record.trial import ENDED, WITHOUT_RESULT, Trial
from trainables.parameter import Parameter

COLUMNS = 3
"""Number of panels in a row."""

PANEL = (2.4, 1.9)
"""Width and height of a panel, in inches."""

FEWEST = 6
"""Smallest number of finished trials for which a rank correlation is shown."""

WIDE = 50
"""Ratio of the ends of a logarithmic range above which only powers of ten are labelled."""


UNITS = {
    "cutoff": "Angstrom",
    "sequence_length": "frames",
    "free_steps": "frames",
    "noise": "pixel values",
}
"""Hyperparameter -> its unit, for those that have one."""

WIDTH = 7.2
"""Width of a figure, in inches."""


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    with matplotlib.rc_context(style.LOOK):
        yield Figure((width, height), layout="constrained")


def ended(study: RecordedStudy) -> list[Trial]:
    """Returns the trials of the search that have ended, in the order of their ends."""
    over = [trial for trial in study.trials if trial.status in ENDED]
    return sorted(over, key=lambda trial: (trial.ended, trial.number))


def best_values(study: RecordedStudy) -> np.ndarray:
    """Returns the running maximum of the objective, (ended,) float64: for each trial that ended,
    the best among the trials finished by then; -inf before the first finished one."""
    values = [_value(study, t) if t.status == "finished" else -np.inf for t in ended(study)]
    return np.array([*accumulate(values, max)])


def best_so_far(study: RecordedStudy) -> Figure:
    """Draws the best objective so far over the number of ended trials and over time."""
    trials = ended(study)
    begun = min(filter(None, (trial.started or trial.ended for trial in study.trials)))
    seconds = [(trial.ended - begun).total_seconds() for trial in trials if trial.ended]
    unit, length = ("hours", 3600) if seconds[-1] > 5400 else ("minutes", 60)
    best = best_values(study)
    with _figure(WIDTH, 2.6) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axis, places in (
            (left, np.arange(1, len(trials) + 1)),
            (right, np.array(seconds) / length),
        ):
            reached = np.isfinite(best)
            axis.step(
                places[reached],
                best[reached],
                where="post",
                color=style.BLUE,
                label="best so far",
            )
            _outcomes(axis, study, trials, places)
        left.set(xlabel="trials that have ended", ylabel=_quantity(study))
        right.set_xlabel(f"time since the first one began ({unit})")
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(figure, [left])
        return figure


def _quantity(study: RecordedStudy) -> str:
    return f"{study.objective}\n(dimensionless)"


def _value(study: RecordedStudy, trial: Trial) -> float:
    value = trial.value(study.objective)
    return np.nan if value is None else value


def _outcomes(
    axis: Axes, study: RecordedStudy, trials: Sequence[Trial], places: np.ndarray
) -> None:
    """Draws a marker for each trial: finished, pruned (at its last value), or failed (at the
    bottom of the axis). Values below the axis are marked at its bottom."""
    values = np.array([_value(study, trial) for trial in trials])
    states = np.array([trial.status for trial in trials])
    low, high = _range(study)
    axis.set_ylim(low, high)
    below = ~(values >= low)
    pruned = states == "pruned"
    hollow = {"color": style.ORANGE, "mfc": "none"}
    looks: list[tuple[str, np.ndarray, dict[str, Any]]] = [
        ("finished", (states == "finished") & ~below, {"marker": "o", "color": style.BLUE}),
        (
            "finished, below the axis",
            (states == "finished") & below,
            {"marker": "v", "color": style.BLUE, "clip_on": False},
        ),
        ("pruned", pruned & ~below, {"marker": "o", **hollow}),
        ("pruned, below the axis", pruned & below, {"marker": "v", "clip_on": False, **hollow}),
    ]
    for label, chosen, look in looks:
        if chosen.any():
            shown = np.maximum(values[chosen], low)
            axis.plot(places[chosen], shown, ls="", ms=4, label=label, **look)
    failed = np.isin(states, WITHOUT_RESULT)
    if failed.any():
        axis.plot(
            places[failed],
            np.full(int(failed.sum()), 0.02),
            ls="",
            marker="x",
            ms=5,
            color=style.VERMILLION,
            transform=axis.get_xaxis_transform(),
            label="failed",
        )


def _range(study: RecordedStudy) -> tuple[float, float]:
    """Returns the range of the objective's axis, set by the better three quarters of the finished
    trials: pruned or very bad trials may lie far below and must not compress the rest."""
    values = [_value(study, trial) for trial in ended(study)]
    finished = [_value(study, trial) for trial in ended(study) if trial.status == "finished"]
    known = [value for value in finished or values if np.isfinite(value)]
    if not known:
        return 0.0, 1.0
    low, high = float(np.quantile(known, 0.25)), max(filter(np.isfinite, values), default=1.0)
    low = max(min(known), low - (high - low))
    margin = 0.1 * (high - low) or 0.05 * abs(high) or 0.05
    return low - margin, high + margin


def _legend(figure: Figure, axes: Iterable[Axes]) -> None:
    found = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        found.values(), found.keys(), loc="outside upper center", ncols=max(1, len(found))
    )


def axes_of(study: RecordedStudy, searched: Sequence[Parameter], champion: Trial | None) -> Figure:
    """Draws the objective against each searched hyperparameter, one panel each.

    Args:
        study: The study.
        searched: The searched hyperparameters.
        champion: The trial to highlight; None for none.
    """
    trials = ended(study)
    rows = -(-len(searched) // COLUMNS)
    with _figure(PANEL[0] * COLUMNS, PANEL[1] * rows + 0.4) as figure:
        grid = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False)
        for axis, each in zip(grid.flat, searched, strict=False):
            _axis(axis, study, trials, each, champion)
        for axis in grid.flat[len(searched) :]:
            axis.set_axis_off()
        for line in grid:
            line[0].set_ylabel(_quantity(study))
        _legend(figure, grid.flat)
        return figure


def _axis(
    axis: Axes,
    study: RecordedStudy,
    trials: Sequence[Trial],
    searched: Parameter,
    champion: Trial | None,
) -> None:
    had = [(trial, searched.value(trial.config)) for trial in trials]
    known = [(trial, value) for trial, value in had if value is not None]
    places = _places(axis, searched, [value for _, value in known])
    _outcomes(axis, study, [trial for trial, _ in known], places)
    for (trial, _), place in zip(known, places, strict=True):
        if champion is not None and trial.number == champion.number:
            axis.plot(
                place,
                _value(study, trial),
                ls="",
                marker="*",
                ms=10,
                color=style.VERMILLION,
                label="the winner's trial",
            )
    unit = f" ({UNITS[searched.field]})" if searched.field in UNITS else ""
    axis.set_xlabel(searched.key.replace("_", " ") + unit)


def _places(axis: Axes, searched: Parameter, values: Sequence[Any]) -> np.ndarray:
    """Sets scale and ticks of an axis for a hyperparameter; returns the positions of its values,
    (values,) float64."""
    match searched.distribution:
        case CategoricalDistribution(choices=choices):
            names = [style.title(str(choice)) for choice in choices]
            axis.set_xticks(range(len(choices)), names, rotation=30 if len(names) > 3 else 0)
            axis.set_xlim(-0.5, len(choices) - 0.5)
            # Jitter, so that trials with the same choice do not hide each other.
            beside = np.random.default_rng(0).uniform(-0.2, 0.2, len(values))
            return np.array([choices.index(value) for value in values]) + beside
        case (
            IntDistribution(low=low, high=high, log=log)
            | FloatDistribution(low=low, high=high, log=log)
        ):
            if log:
                axis.set_xscale("log")
                _ticks(axis, high / low)
                axis.set_xlim(low / (high / low) ** 0.04, high * (high / low) ** 0.04)
            else:
                whole = isinstance(searched.distribution, IntDistribution)
                axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=whole))
                axis.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
            return np.array(values, np.float64)
    raise TypeError(f"no axis for {searched.distribution}")


def _ticks(axis: Axes, ratio: float) -> None:
    """Labels a few ticks of a logarithmic axis; `ratio` is that of its ends."""
    wide = ratio > WIDE
    subs = (1,) if wide else (1, 3) if ratio > 10 else (1, 2, 5)
    axis.xaxis.set_major_locator(LogLocator(subs=subs, numticks=4))
    axis.xaxis.set_major_formatter(LogFormatterSciNotation() if wide else "{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())


def importance_bars(shares: Mapping[str, float]) -> Figure:
    """Draws the importances of hyperparameters as bars, in the given order from the top."""
    names = [name.replace("_", " ") for name in shares]
    with _figure(WIDTH * 0.75, 0.24 * len(names) + 0.8) as figure:
        axis = figure.subplots()
        bars = axis.barh(names, list(shares.values()), color=style.BLUE)
        axis.bar_label(bars, fmt="{:.2f}", padding=3)
        axis.invert_yaxis()
        axis.set_xlabel("importance (share, PED-ANOVA)")
        axis.set_xlim(0, max(shares.values()) * 1.12)
        return figure


@dataclass(frozen=True)
class Rung:
    """How well the objective at an early-stopping rung predicts the final one.

    Attributes:
        epoch: The rung: the epoch after which trials are compared.
        early: (trials,) float64, the objective after that epoch.
        last: (trials,) float64, the objective after the last epoch.
        correlation: Spearman's rank correlation of the two.
    """

    epoch: int
    early: np.ndarray
    last: np.ndarray
    correlation: float


def rungs(study: RecordedStudy, epochs: Sequence[int]) -> list[Rung]:
    """Compares early with final objectives of the finished trials at each rung.

    Rungs with fewer than `FEWEST` trials, or at which all trials have the same objective, are left
    out.

    Args:
        study: The study.
        epochs: The rungs of early stopping; empty if it was off.
    """
    finished = [trial for trial in study.trials if trial.status == "finished"]
    if len(finished) < FEWEST:
        return []
    curves = [curve(trial, study.objective) for trial in finished]
    found = []
    for epoch in epochs:
        early = np.array([_at(each, epoch) for each in curves])
        last = np.array([_at(each, int(each.epochs.max(initial=0))) for each in curves])
        known = np.isfinite(early) & np.isfinite(last)
        if known.sum() >= FEWEST and len({*early[known]}) > 1 < len({*last[known]}):
            correlation = stats.spearmanr(early[known], last[known]).statistic  # pyright: ignore
            found.append(Rung(epoch, early[known], last[known], float(correlation)))
    return found


def _at(line: Curve, epoch: int) -> float:
    (place,) = np.nonzero(line.epochs == epoch)
    return float(line.values[place[0]]) if len(place) else np.nan


def rung_panels(study: RecordedStudy, found: Sequence[Rung]) -> Figure:
    """Draws final against early objectives, one panel per rung."""
    with _figure(PANEL[0] * max(2, len(found)), PANEL[1] + 0.4) as figure:
        panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
        for axis, rung in zip(panels, found, strict=True):
            axis.plot(rung.early, rung.last, ls="", marker="o", ms=4, color=style.BLUE)
            axis.set_title(f"rank correlation {rung.correlation:.2f}")
            axis.set_xlabel(f"after epoch {rung.epoch} (dimensionless)")
        panels[0].set_ylabel(f"{study.objective}, last\nepoch (dimensionless)")
        return figure
