"""The two aims of a world model, sharp at one step and right in a long dream, trial by trial."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.curves import recorded
from record.recorded_study import RecordedStudy
from record.trial import Trial

PANEL = (3.8, 3.0)
"""Width and height of the panel, in inches."""

LABELS = (
    "one-step error\n(share of copying the frame before)",
    "free-running error\n(share of the better baseline)",
)

LOOKS = {
    "builtin": (style.BLUE, "o"),
    "scratch": (style.ORANGE, "s"),
    "transformer": (style.VERMILLION, "^"),
}
"""Core -> colour and marker."""


def errors(trial: Trial) -> tuple[float, float]:
    """Returns a finished trial's one-step and free-running errors on the validation episodes, as
    shares of those of the baselines."""
    one_step = recorded(trial, "validation/persistence_ratio")
    return one_step, 1 - recorded(trial, "validation/dream_skill")


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the points that no other one beats in both numbers, by their first number."""
    found: list[tuple[float, float]] = []
    for point in sorted(points):
        if not found or point[1] < found[-1][1]:
            found.append(point)
    return found


def edges(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Returns the largest errors that are drawn where they are: a little above the baselines', or
    half more than the smallest where that is more."""
    one_step, dream = (max(1.1, 1.5 * min(each)) for each in zip(*points, strict=True))
    return one_step, dream


def draw(study: RecordedStudy) -> Figure:
    """Draws both errors of every finished trial of the search, and the front of the best; larger
    errors than `edges` at the edge."""
    finished = [trial for trial in study.trials if trial.status == "finished"]
    best = study.best(finished)
    found = [errors(trial) for trial in finished]

    def paint(panels: Sequence[Axes]) -> None:
        (axis,) = panels
        limits = edges(found)
        cores = [trial.config["core"] for trial in finished]
        for core, (colour, marker) in LOOKS.items():
            points = [point for own, point in zip(cores, found, strict=True) if own == core]
            if points:
                drawn = np.minimum(points, limits)
                look = {"color": colour, "mfc": "none", "ms": 5, "clip_on": False}
                axis.plot(*drawn.T, marker, label=style.title(core), **look)
        axis.step(
            *np.transpose(front(found)), where="post", color=style.GREY, lw=0.8, label="the front"
        )
        if best is not None:
            ring = {"ms": 10, "mfc": "none", "mec": style.GREY}
            at = np.minimum(errors(best), limits)
            axis.plot(*at, "o", **ring, clip_on=False, label="highest mean of both skills")
        for level in (axis.axhline, axis.axvline):
            level(1, color=style.LIGHT, lw=1, ls="--", zorder=0)
        axis.set_xlim(right=limits[0])
        axis.set_ylim(top=limits[1])

    return style.draw(PANEL, 1, LABELS, paint)
