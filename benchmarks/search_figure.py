"""Draws the regret of replayed searches against the time that they take."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from benchmarks.search_tables import UNIT, Searched

LOOKS = (
    (style.GREY, "-", "o"),
    (style.GREY, ":", "x"),
    (style.BLUE, "-", "s"),
    (style.SKY, "--", "D"),
    (style.VERMILLION, "-", "^"),
    (style.ORANGE, "--", "v"),
    (style.ORANGE, "-.", "*"),
)
"""Colour, dashes and mark of the rules, in their order."""


def draw(found: Sequence[Searched], best: float, path: Path) -> Path:
    """Draws a panel for each sampler and schedule; returns the file."""
    panels = list(dict.fromkeys((e.kind.sampler, e.kind.schedule) for e in found))
    with matplotlib.rc_context(style.LOOK):
        figure = Figure((3.6 * len(panels), 3.9), layout="constrained")
        axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        for axis, panel in zip(axes, panels, strict=True):
            chosen = [e for e in found if (e.kind.sampler, e.kind.schedule) == panel]
            _paint(axis, chosen, best)
            axis.set_title(f"{panel[0]}, schedule {panel[1]}")
            axis.set_xlabel("time of the search (minutes)")
        axes[0].set_ylabel("mean regret (R² / 1,000)")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=style.RESOLUTION, metadata={"Software": None})
    return path


def _paint(axis: Axes, found: Sequence[Searched], best: float) -> None:
    rules = dict.fromkeys(each.kind.rule for each in found)
    for rule, (color, dashes, mark) in zip(rules, LOOKS, strict=True):
        mine = sorted((e for e in found if e.kind.rule == rule), key=lambda e: e.kind.trials)
        minutes = [each.minutes for each in mine]
        regret = [UNIT * each.regrets(best).mean() for each in mine]
        axis.plot(minutes, regret, color=color, ls=dashes, marker=mark, ms=4, label=rule)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.grid(lw=0.4, color=style.LIGHT)
