"""Shows test rollouts of the best world model beside the truth and the homework's baseline.

    python analysis/rollouts.py NAME

writes runs/NAME/report/rollouts.md and .csv, rollouts.gif, and as .png and .pdf two_aims,
error_against_horizon and film_strip. The best trial is the finished one with the highest
objective on the validation split. It and the baselines are the only trials of the search that are
scored on the test episodes, once, at the end of the study's own command.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import analysis  # noqa: F401 - finds folders for Matplotlib where the user has none

# isort: split
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import cards, film, rollout_scores, style, two_aims
from analysis.cards import Card
from analysis.markdown import escaped
from analysis.markdown import table as markdown_table
from analysis.rollout_scores import PICTURES, RolloutScores
from datasets.errors import InputError
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.rollout import CONTEXT, psnr

HORIZONS = (1, 10, 30, 50, 100)
"""Horizons (frames after the context) shown as columns of the table; those beyond the rollout are
left out."""

PANEL = (3.2, 2.5)
"""Width and height of a panel, in inches."""

WAYS = ("teacher_forced", "autoregressive")
"""Ways to predict: each frame from the true one before it, or from the prediction before it."""

LOOKS = {
    "persistence": (style.GREY, ":", "persistence: the true frame before"),
    "freeze": (style.GREY, "--", "freeze: the last frame of the context"),
    "climatology": (style.VERMILLION, "-.", "climatology: the mean training frame"),
}


@dataclass(frozen=True)
class Entry:
    """The test rollouts of one trial.

    Attributes:
        title: Name of the trial in figures and tables.
        trial: The trial.
        scores: Its rollouts of the test episodes.
    """

    title: str
    trial: Trial
    scores: RolloutScores


def make(study: RecordedStudy) -> Card:
    """Makes the card of a study's rollouts.

    Raises:
        InputError: If the study is not one of drives, has not ended, has no finished trial, or its
            best trial was not scored.
    """
    if study.scorecard.unit != "episodes":
        raise InputError(f"{study.name} is no study of drives: there is nothing to roll out")
    study.check_ended()
    entries = _entries(study)
    shown = _shown(entries)
    films = [(entry.title, entry.scores) for entry in shown]
    return Card(
        title="rollouts",
        name="rollouts",
        text=markdown(entries, study),
        table=frame(entries),
        figures={
            "two_aims": two_aims.draw(study),
            "error_against_horizon": _draw(shown),
            "film_strip": film.strip(films),
            "rollouts": film.animation(films),
        },
        captions={
            "two_aims": "Both errors of every finished trial on the validation episodes, at one "
            "step and free-running, as shares of those of copying the frame before and of the "
            "better of freeze and climatology at each horizon: below and left of the dashed lines "
            "is better than they are. Larger errors than the axes show lie at their edge.",
            "error_against_horizon": "Error against horizon on the test episodes: fed with the "
            "true frame before (teacher-forced), and with its own predictions (autoregressive).",
            "film_strip": "The first test episode: the truth and what the models dream, every "
            "frame under its horizon.",
            "rollouts": "The same, played.",
        },
    )


def _entries(study: RecordedStudy) -> list[Entry]:
    """Returns the best trial and the baselines that were scored.

    Raises:
        InputError: If the best trial was not scored.
    """
    entries = []
    for title, trial in _compared(study).items():
        made = rollout_scores.of_trial(study, trial)
        if made is not None:
            entries.append(Entry(title, trial, made))
        elif not entries:
            raise InputError(
                f"trial {trial.number}, the best of {study.name}, was not scored on the test "
                f"split: {cards.UNSCORED}"
            )
    return entries


def _compared(study: RecordedStudy) -> dict[str, Trial]:
    """Returns title -> trial: the best trial first, then the baseline of each core."""
    best = study.best(study.trials)
    assert best is not None
    found = {f"best, trial {best.number}": best}
    for core, trials in study.groups.items():
        baseline = study.best(trial for trial in trials if trial.is_baseline)
        if baseline is not None and baseline.number != best.number:
            found[f"baseline, {style.title(core)}"] = baseline
    return found


def _shown(entries: Sequence[Entry]) -> list[Entry]:
    """Picks the best trial and one baseline, if possible that of the same core."""
    best, *baselines = entries
    same = [e for e in baselines if e.trial.config["core"] == best.trial.config["core"]]
    return [best, *(same or baselines)[:1]]


def frame(entries: Sequence[Entry]) -> pd.DataFrame:
    """Returns means and extremes over the test episodes, one row per trial, kind of prediction and
    horizon."""
    tables = []
    for entry in entries:
        for place, picture in enumerate(PICTURES):
            errors = entry.scores.mse[place]
            tables.append(
                pd.DataFrame(
                    {
                        "trial": entry.trial.number,
                        "role": entry.title,
                        "prediction": picture,
                        "horizon": np.arange(1, errors.shape[1] + 1),
                        "mse (squared pixel values)": errors.mean(axis=0),
                        "psnr (dB)": psnr(torch.tensor(errors)).mean(dim=0),
                        "ssim": entry.scores.ssim[place].mean(axis=0),
                        "lowest mse of an episode": errors.min(axis=0),
                        "highest mse of an episode": errors.max(axis=0),
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def markdown(entries: Sequence[Entry], study: RecordedStudy) -> str:
    """Returns the table as aligned Markdown, with an explanation below."""
    longest = entries[0].scores.mse.shape[2]
    horizons = [horizon for horizon in HORIZONS if horizon <= longest]
    header = [
        "model",
        "one-step MSE",
        "of persistence",
        *(f"free-running, of freeze, at {horizon}" for horizon in horizons),
        f"mean 1 to {longest}",
        "of climatology",
        f"horizons below both, of {longest}",
        "SSIM",
    ]
    table = markdown_table(header, [_cells(entry, horizons) for entry in entries])
    caption = (
        f"{escaped(study.name)}: mean squared errors (pixel values from 0 to 1) over "
        f"{entries[0].scores.mse.shape[1]} test episodes that nothing was fitted to or chosen by, "
        f"after {CONTEXT} frames of context, as shares of those of three baselines: persistence "
        "copies the true frame before, freeze keeps the last frame of the context, climatology is "
        "the mean training frame. Below 1 is better than the baseline. SSIM: structural "
        f"similarity, free-running, mean over 1 to {longest}. Best: the trial that finished with "
        f"the highest {study.objective}; baseline: the homework's configuration "
        "with the core that is named, but for what the command line fixed."
    )
    return f"{table}\n\n{caption}\n"


def _cells(entry: Entry, horizons: Sequence[int]) -> list[str]:
    made = entry.scores
    free = made.shares("autoregressive", "freeze")
    mean = made.share("autoregressive", "freeze")
    return [
        entry.title,
        f"{made.error('teacher_forced').mean():.3g}",
        _told(made.share("teacher_forced", "persistence"), 3),
        *(_told(free[horizon - 1], 2) for horizon in horizons),
        _told(mean, 2),
        _told(made.share("autoregressive", "climatology"), 2),
        str(made.horizons_below_both()),
        f"{made.similarity('autoregressive').mean():.3f}",
    ]


def _told(share: float, decimals: int) -> str:
    """Formats a share of a baseline's error; a dash if it is undefined, as nothing moves."""
    return "—" if math.isnan(share) else f"{share:.{decimals}f}"


def _draw(entries: Sequence[Entry]) -> Figure:
    """Draws error against horizon, one panel per model and kind of rollout."""
    panels = [(entry, way) for entry in entries for way in WAYS]

    def paint(axes: Sequence[Axes]) -> None:
        for axis, (entry, way) in zip(axes, panels, strict=True):
            _paint_panel(axis, entry, way)

    labels = ("horizon (frames after the context)", "mean squared error\n(squared pixel values)")
    return style.draw(PANEL, len(panels), labels, paint)


def _paint_panel(axis: Axes, entry: Entry, way: str) -> None:
    axis.set_yscale("log")
    axis.set_title(f"{entry.title},\n{way.replace('_', '-')}")
    errors = entry.scores.error(way)
    horizon = np.arange(1, errors.shape[1] + 1)
    low, high = np.quantile(errors, [0.1, 0.9], axis=0)
    band = "the model, 10 to 90 %\nof the test episodes"
    axis.fill_between(horizon, low, high, color=style.SKY, alpha=0.35, lw=0, label=band)
    for baseline, (colour, dashes, label) in LOOKS.items():
        mean = entry.scores.error(baseline).mean(axis=0)
        axis.plot(horizon, mean, color=colour, ls=dashes, lw=1, label=label)
    axis.plot(horizon, errors.mean(axis=0), color=style.BLUE, label="the model, mean")
    axis.grid(axis="y", lw=0.4, color=style.LIGHT)


def main(argv: Sequence[str] | None = None) -> int:
    """Shows a study's test rollouts from the command line; returns the exit code."""
    return cards.main("Shows what the best world model dreams of the test episodes.", make, argv)


if __name__ == "__main__":
    sys.exit(main())
