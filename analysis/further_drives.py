"""Drives the champion of a study of controllers on further tracks, drawn by Gymnasium itself.

    python analysis/further_drives.py NAME

writes runs/NAME/report/further_drives.md and .csv, .png and .pdf. The 100 tracks are none of those
that the study trained, compared or scored on, and the frames are Gymnasium's own: what the return
is worth elsewhere. Beside it stands the driver that sees the track, the one that recorded the
drives, on the same tracks: a reference, not the best that is possible. A champion has several
controllers, one for each seed of its finals; a study without finals has the best of its search.
Each controller takes up to ten minutes on two cores, as Gymnasium draws every step.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import analysis  # noqa: F401 - finds folders for Matplotlib where the user has none

# isort: split
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats
from threadpoolctl import threadpool_limits

from analysis import cards, command_line, style
from analysis.cards import Card
from analysis.champion import Champion, champion_of
from analysis.markdown import table as markdown_table
from analysis.opening import problem_of
from datasets.car_racing import Drawing
from datasets.errors import InputError
from datasets.machine import cores
from datasets.parallel import ParallelMap
from datasets.racing import Rules
from record.recorded_study import RecordedStudy
from record.values import made_of
from trainables.controller_config import ControllerConfig
from trainables.racing_controller import FURTHER, POLICIES, PURSUIT, Driver, returns

SIZE = (5.2, 2.6)
"""Width and height of the histogram, in inches."""

RESAMPLES = 10_000
"""Number of resamples of an interval."""

BINS = np.arange(-150, 1001, 50)
"""Edges of the histogram's bins, in return."""


@dataclass(frozen=True)
class Driven:
    """Returns on further tracks.

    Attributes:
        champion: Seed of a training -> (tracks,) float64.
        pursuit: Of the driver that sees the track, (tracks,) float64.
    """

    champion: dict[int, np.ndarray]
    pursuit: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean over the trainings, (tracks,)."""
        return np.mean([*self.champion.values()], axis=0)


def drive(
    champion: Champion, drivers: Sequence[Driver], drawing: Drawing, parallel: ParallelMap
) -> Driven:
    """Drives on the further tracks.

    Args:
        champion: The champion.
        drivers: One for each of its trainings.
        drawing: Who draws the frames.
        parallel: Maps over groups of tracks.
    """
    found = {}
    for seed, driver in zip(champion.seeds, drivers, strict=True):
        own = replace(driver, rules=replace(driver.rules, drawing=drawing))
        found[seed] = returns(own.drives(FURTHER, parallel))
        print(f"seed {seed}: {found[seed].mean():.0f} on {len(FURTHER)} tracks", file=sys.stderr)
    tracks = [[seed] for seed in FURTHER]
    pursued = parallel(partial(_pursued, Rules(0)), tracks)
    return Driven(found, np.concatenate([*pursued]))


def _pursued(rules: Rules, seeds: Sequence[int]) -> np.ndarray:
    return returns(POLICIES[PURSUIT](seeds, rules))


def interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of a mean over tracks."""
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=0
    ).confidence_interval
    return float(found.low), float(found.high)


def card(found: Driven, champion: Champion, drawing: Drawing) -> Card:
    """Makes the card of the returns."""
    lines = [(f"seed {seed}", each) for seed, each in found.champion.items()]
    if len(lines) > 1:
        lines.append(("mean over seeds", found.mean))
    lines += [(PURSUIT, found.pursuit), ("difference", found.mean - found.pursuit)]
    drawer = "Gymnasium's own" if drawing == "gymnasium" else "that of training"
    text = (
        f"{champion.title} on {len(FURTHER)} further tracks, with {drawer} drawing; intervals "
        f"are over tracks.{champion.remark}\n\n"
        + markdown_table(
            ["driver", "return", "95 % interval", "deviation over tracks", "least", "most"],
            [_row(name, values) for name, values in lines],
        )
    )
    frame = pd.DataFrame(
        {
            "track": [*FURTHER],
            **{f"seed {seed}": each for seed, each in found.champion.items()},
            PURSUIT: found.pursuit,
        }
    )
    caption = f"Returns on {len(FURTHER)} further tracks."
    return Card(
        title="further tracks",
        name="further_drives",
        text=text,
        table=frame,
        figures={"further_drives": _figure(found)},
        captions={"further_drives": caption},
    )


def _row(name: str, values: np.ndarray) -> list[str]:
    low, high = interval(values)
    spread = f"± {values.std(ddof=1):.0f}"
    whole = [f"{values.mean():.0f}", f"{low:.0f} to {high:.0f}", spread]
    return [name, *whole, f"{values.min():.0f}", f"{values.max():.0f}"]


def _figure(found: Driven) -> Figure:
    with matplotlib.rc_context(style.LOOK):
        figure = Figure(SIZE, layout="constrained")
        axes = figure.subplots()
        known = {"bins": BINS.tolist(), "histtype": "stepfilled", "alpha": 0.5}
        axes.hist(found.mean, color=style.BLUE, label="controller", **known)
        axes.hist(found.pursuit, color=style.ORANGE, label=PURSUIT, **known)
        for values, colour in ((found.mean, style.BLUE), (found.pursuit, style.VERMILLION)):
            axes.axvline(values.mean(), color=colour, ls="--", lw=1)
        axes.set(xlabel="return (dashed: mean)", ylabel="tracks")
        axes.legend(loc="upper left")
        return figure


def analyse(study: RecordedStudy, data_dir: Path, where: str | None, drawing: Drawing) -> Card:
    """Drives a study's champion and makes the card.

    Raises:
        InputError: If the study is not one of controllers, has no champion and no finished trial,
            or its data do not exist.
    """
    if study.scorecard.unit != "tracks":
        raise InputError(f"{study.name} is no study of controllers: there is nothing to drive")
    champion = champion_of(study)
    problem = problem_of(study, data_dir, where)
    drivers = [
        problem.restored(made_of(ControllerConfig, kept["config"]), kept["model"])
        for _, kept in champion.finals
    ]
    context = get_context("spawn")
    with ProcessPoolExecutor(cores(), context, threadpool_limits, initargs=(1,)) as pool:
        return card(drive(champion, drivers, drawing, pool.map), champion, drawing)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the analysis from the command line; returns the exit code."""
    line = command_line.parser("Drives the champion of a study of controllers on further tracks.")
    line.add_argument(
        "--drawing",
        choices=("gymnasium", "arrays"),
        default="gymnasium",
        help="who draws the frames: gymnasium itself, or arrays, as in training "
        "(default: %(default)s)",
    )
    command_line.add_data_dir(line)
    command_line.add_data(line)
    typed = line.parse_args(argv)

    def analysed(study: RecordedStudy, report: Path) -> str:
        made = analyse(study, typed.data_dir, typed.data, typed.drawing)
        return cards.published([made], study, report)

    return command_line.answer(line, argv, analysed)


if __name__ == "__main__":
    sys.exit(main())
