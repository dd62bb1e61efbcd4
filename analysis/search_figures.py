"""How a search went: the best so far, what each hyperparameter did, whether early scores tell.

Every function draws one figure from what was recorded.
"""

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
"""Panels beside each other."""

PANEL = (2.4, 1.9)
"""Width and height of a panel, in inches."""

FEWEST = 6
"""Finished trials below which no rank correlation is shown."""

WIDE = 50
"""Ratio of the ends of a logarithmic range above which only powers of ten are labelled."""

UNITS = {
    "cutoff": "Angstrom",
    "sequence_length": "frames",
    "free_steps": "frames",
    "noise": "pixel values",
}
"""Of hyperparameters that have one."""

WIDTH = 7.2
"""Of a figure, in inches."""


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    with matplotlib.rc_context(style.LOOK):
        yield Figure((width, height), layout="constrained")


def ended(study: RecordedStudy) -> list[Trial]:
    """The trials of the search that ended, in that order."""
    over = [trial for trial in study.trials if trial.status in ENDED]
    return sorted(over, key=lambda trial: (trial.ended, trial.number))


def best_values(study: RecordedStudy) -> np.ndarray:
    """The best objective of the finished trials after each that ended: (ended,) float64, -inf
    before the first of them."""
    values = [_value(study, t) if t.status == "finished" else -np.inf for t in ended(study)]
    return np.array([*accumulate(values, max)])


def best_so_far(study: RecordedStudy) -> Figure:
    """The best finished trial after each one that ended, over their number and over the hours."""
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
    """A mark for each trial: finished, pruned (with the value it had then), failed (at the foot,
    as it has none). What lies below the axis is marked at its foot."""
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
    """Of the objective on the axis: that of the better three quarters of the finished trials.
    What was stopped early, or went astray, may lie far below: it is not to flatten the rest."""
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
    """The objective against each searched hyperparameter, a panel each."""
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
    """Where values lie on the axis, which gets its scale and ticks."""
    match searched.distribution:
        case CategoricalDistribution(choices=choices):
            names = [style.title(str(choice)) for choice in choices]
            axis.set_xticks(range(len(choices)), names, rotation=30 if len(names) > 3 else 0)
            axis.set_xlim(-0.5, len(choices) - 0.5)
            # Beside each other where many have the same value.
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
    """A few numbers on a logarithmic axis whose ends have this ratio."""
    wide = ratio > WIDE
    subs = (1,) if wide else (1, 3) if ratio > 10 else (1, 2, 5)
    axis.xaxis.set_major_locator(LogLocator(subs=subs, numticks=4))
    axis.xaxis.set_major_formatter(LogFormatterSciNotation() if wide else "{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())


def importance_bars(shares: Mapping[str, float]) -> Figure:
    """The importances, the largest on top."""
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
    """Whether a score early in training tells the last one.

    Attributes:
        epoch: After which it was looked at.
        early: (trials,) objective then.
        last: (trials,) objective after the last epoch.
        correlation: Spearman's, of the ranks.
    """

    epoch: int
    early: np.ndarray
    last: np.ndarray
    correlation: float


def rungs(study: RecordedStudy, epochs: Sequence[int]) -> list[Rung]:
    """The finished trials at the epochs at which others were stopped; empty with too few of
    them, or without early stopping."""
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
    """Early against last scores, a panel a rung."""
    with _figure(PANEL[0] * max(2, len(found)), PANEL[1] + 0.4) as figure:
        panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
        for axis, rung in zip(panels, found, strict=True):
            axis.plot(rung.early, rung.last, ls="", marker="o", ms=4, color=style.BLUE)
            axis.set_title(f"rank correlation {rung.correlation:.2f}")
            axis.set_xlabel(f"after epoch {rung.epoch} (dimensionless)")
        panels[0].set_ylabel(f"{study.objective}, last\nepoch (dimensionless)")
        return figure
