"""How a search went: the best so far, what each hyperparameter did, whether early scores tell.

Every function draws one figure from what MLflow recorded.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats

from analysis import style
from analysis.runs import History, StudyRuns, TrackingStore, TrialRun
from analysis.searched import Searched

COLUMNS = 3
"""Panels beside each other."""

PANEL = (2.4, 1.9)
"""Width and height of a panel, in inches."""

FAILED = ("failed", "infeasible")

WIDTH = 7.2
"""Of a figure, in inches."""


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    with matplotlib.rc_context(style.LOOK):
        yield Figure((width, height), layout="constrained")


def ended(runs: StudyRuns) -> list[TrialRun]:
    """The trials of the search that ended, in that order."""
    over = [trial for trial in runs.trials if trial.ended is not None and trial.state != "stopped"]
    return sorted(over, key=lambda trial: (trial.ended, trial.number))


def best_so_far(runs: StudyRuns) -> Figure:
    """The best finished trial after each one that ended, over their number and over the hours."""
    trials = ended(runs)
    begun = min(trial.started for trial in runs.trials)
    hours = [(trial.ended - begun).total_seconds() / 3600 for trial in trials if trial.ended]
    values = [_value(runs, trial) if trial.state == "finished" else -np.inf for trial in trials]
    best = np.array([*accumulate(values, max)])
    with _figure(WIDTH, 2.6) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axis, places in ((left, np.arange(1, len(trials) + 1)), (right, np.array(hours))):
            reached = np.isfinite(best)
            axis.step(
                places[reached],
                best[reached],
                where="post",
                color=style.BLUE,
                label="best so far",
            )
            _outcomes(axis, runs, trials, places)
        left.set(xlabel="trials that have ended", ylabel=_quantity(runs))
        right.set_xlabel("time since the first one began (hours)")
        _legend(figure, left)
        return figure


def _quantity(runs: StudyRuns) -> str:
    return f"{runs.objective} (dimensionless)"


def _value(runs: StudyRuns, trial: TrialRun) -> float:
    return trial.metrics.get(runs.objective, np.nan)


def _outcomes(axis: Axes, runs: StudyRuns, trials: Sequence[TrialRun], places: np.ndarray) -> None:
    """A mark for each trial: finished, pruned (with the value it had then), failed (at the foot,
    as it has none)."""
    looks: Mapping[str, dict[str, Any]] = {
        "finished": {"marker": "o", "color": style.BLUE, "ms": 4},
        "pruned": {"marker": "o", "color": style.ORANGE, "mfc": "none", "ms": 4},
    }
    values = np.array([_value(runs, trial) for trial in trials])
    states = np.array([trial.state for trial in trials])
    for state, look in looks.items():
        chosen = states == state
        if chosen.any():
            axis.plot(places[chosen], values[chosen], ls="", label=state, **look)
    failed = np.isin(states, FAILED)
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
    shown = values[states == "finished"]
    if len(shown):
        low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
        # What was pruned early may lie far below: it is not to flatten the rest.
        axis.set_ylim(low - 0.15 * (high - low) - 1e-9, high + 0.08 * (high - low) + 1e-9)


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))


def axes_of(runs: StudyRuns, searched: Sequence[Searched], champion: TrialRun | None) -> Figure:
    """The objective against each searched hyperparameter, a panel each."""
    trials = ended(runs)
    rows = -(-len(searched) // COLUMNS)
    with _figure(PANEL[0] * COLUMNS, PANEL[1] * rows + 0.4) as figure:
        grid = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False)
        for axis, each in zip(grid.flat, searched, strict=False):
            _axis(axis, runs, trials, each, champion)
        for axis in grid.flat[len(searched) :]:
            axis.set_axis_off()
        for line in grid:
            line[0].set_ylabel(runs.objective)
        _legend(figure, grid.flat[0])
        return figure


def _axis(
    axis: Axes,
    runs: StudyRuns,
    trials: Sequence[TrialRun],
    searched: Searched,
    champion: TrialRun | None,
) -> None:
    had = [(trial, searched.value(trial.params)) for trial in trials]
    known = [(trial, value) for trial, value in had if value is not None]
    places = _places(axis, searched, [value for _, value in known])
    _outcomes(axis, runs, [trial for trial, _ in known], places)
    for (trial, _), place in zip(known, places, strict=True):
        if champion is not None and trial.number == champion.number:
            axis.plot(
                place,
                _value(runs, trial),
                ls="",
                marker="*",
                ms=10,
                color=style.VERMILLION,
                label="champion's trial",
            )
    axis.set_xlabel(searched.key.replace("_", " "))


def _places(axis: Axes, searched: Searched, values: Sequence[Any]) -> np.ndarray:
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
                axis.set_xlim(low / (high / low) ** 0.04, high * (high / low) ** 0.04)
            else:
                axis.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
            return np.array(values, np.float64)
    raise TypeError(f"no axis for {searched.distribution}")


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


def rungs(store: TrackingStore, runs: StudyRuns, epochs: Sequence[int]) -> list[Rung]:
    """The finished trials at the epochs at which others were stopped; empty with less than three
    of them, or without early stopping."""
    finished = [trial for trial in runs.trials if trial.state == "finished"]
    if len(finished) < 3:
        return []
    curves = [store.history(trial, runs.objective) for trial in finished]
    found = []
    for epoch in epochs:
        early = np.array([_at(curve, epoch) for curve in curves])
        last = np.array([curve.values[-1] for curve in curves])
        known = np.isfinite(early)
        if known.sum() >= 3:
            correlation = stats.spearmanr(early[known], last[known]).statistic  # pyright: ignore
            found.append(Rung(epoch, early[known], last[known], float(correlation)))
    return found


def _at(curve: History, epoch: int) -> float:
    (place,) = np.nonzero(curve.epochs == epoch)
    return float(curve.values[place[0]]) if len(place) else np.nan


def rung_panels(runs: StudyRuns, found: Sequence[Rung]) -> Figure:
    """Early against last scores, a panel a rung."""
    with _figure(PANEL[0] * max(2, len(found)), PANEL[1] + 0.4) as figure:
        panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
        for axis, rung in zip(panels, found, strict=True):
            axis.plot(rung.early, rung.last, ls="", marker="o", ms=4, color=style.BLUE)
            axis.set_title(f"rank correlation {rung.correlation:.2f}")
            axis.set_xlabel(f"after epoch {rung.epoch}")
        panels[0].set_ylabel(f"{runs.objective},\nlast epoch")
        return figure
