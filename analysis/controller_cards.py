"""What a study of controllers shows: curves over environment steps, pictures, an animation."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import film, style
from analysis.cards import Card
from analysis.curves import curve, recorded
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables.racing_controller import PURSUIT
from trainables.sights import DREAMED

SIZE = (5.8, 3.2)
"""Width and height of the panel of curves, in inches."""

LINE = 0.16
"""Height of a line of its legend, which has two entries."""

CELL = 0.75
"""Side of a frame among the pictures, in inches."""

STRIDE = 2
"""Actions between two frames of the animation."""

HA_STEPS = 64 * 16 * 1000
"""Steps of the environment in a generation of Ha and Schmidhuber 2018: 64 candidates, 16 rollouts,
1,000 steps at most."""

HA_BEST = {25: 823, 50: 867, 100: 867, 200: 880, 500: 891, 1800: 900}
"""Generation -> return of the best candidate, evaluated again, of Ha and Schmidhuber 2018; source:
carracing.cma.16.64.hist_best.json in https://github.com/hardmaru/WorldModelsExperiments."""

HA_MEAN = {11: 281, 26: 641, 51: 754, 101: 792}
"""Generation -> mean return of the candidates there; source: carracing.cma.16.64.hist.json in the
same repository."""

ROWS = {
    "true": "frames of test drives",
    "again": "reconstructed",
    "nearest": "nearest frame of the train drives",
    "sampled": "drawn from random codes",
    "between": "from the first to the last",
}
"""Rows of the pictures -> their titles."""

PICTURED = {
    "true": "frames of test drives",
    "again": "what the vision draws from their codes",
    "nearest": "the frames of the train drives with the nearest codes",
    "sampled": "frames of random codes",
    "between": "frames of codes between that of the first frame and that of the last",
}
"""Rows of the pictures -> what the caption says of them."""

FILMS = {
    "seen": "seen",
    "reconstructed": "reconstructed, of its code",
    "dreamed": "dreamed, by its memory",
}
"""Films of a drive -> their titles."""

FILMED = {
    "seen": "what the car sees",
    "reconstructed": "what the vision draws from its code",
    "dreamed": "what the memory dreams, which knows the actions but sees a code every "
    f"{DREAMED} actions only",
}
"""Films of a drive -> what the caption says of them."""


def make(study: RecordedStudy) -> Iterator[Card]:
    """Makes the cards of a study of controllers: of its finals, or, without finals, of the best
    trial of the search.

    Raises:
        InputError: If no trial finished.
    """
    if _trained_in_the_world(study):
        yield _curves(study)
    outcomes = study.artifacts.outcomes(study.champion_final or study.best_or_refuse())
    if outcomes is not None:
        yield _pictures(outcomes.more)
        yield _animation(outcomes.more)


def _trained_in_the_world(study: RecordedStudy) -> dict[int, list[Trial]]:
    """Returns the trainings of each configuration that is shown whose candidates drove in the
    simulator."""
    shown: Mapping[int, Sequence[Trial]] = study.finalists
    if not shown:
        best = study.best_or_refuse()
        shown = {best.number: [best]}
    in_the_world = {
        number: [each for each in trainings if recorded(each, "train/environment_steps") > 0]
        for number, trainings in shown.items()
    }
    return {number: trainings for number, trainings in in_the_world.items() if trainings}


def _curves(study: RecordedStudy) -> Card:
    shown = _trained_in_the_world(study)
    trainings = [(number, final) for number in shown for final in shown[number]]
    rows = [
        {"trial": number, "seed": each.config["seed"], "steps": steps, "return": value}
        for number, each in trainings
        for steps, value in zip(*_points(each), strict=True)
    ]
    with matplotlib.rc_context(style.LOOK):
        width, height = SIZE
        figure = Figure(layout="constrained")
        axes = figure.subplots()
        _paint(axes, study, shown)
        axes.set(xscale="log", xlabel="environment steps", ylabel="return")
        entries = len(axes.get_legend_handles_labels()[1])
        figure.set_size_inches(width, height + LINE * math.ceil(entries / 2))
        figure.legend(loc="outside lower center", ncols=2, fontsize=7)
    caption = (
        "Return of the mean controller on the validation tracks over the steps that the "
        "candidates drove; of finals the mean over seeds, and the range of the champion's; "
        "beside it Ha and Schmidhuber's own log (2018; of an older simulator)."
    )
    return Card(
        title="return over environment steps",
        name="return_curves",
        text="",
        table=pd.DataFrame(rows),
        figures={"return_curves": figure},
        captions={"return_curves": caption},
    )


def _points(trained: Trial) -> tuple[list[float], list[float]]:
    """Returns the steps after each generation, and the return."""
    steps = curve(trained, "train/environment_steps")
    values = curve(trained, "validation/return")
    return steps.values.tolist(), values.values[-len(steps.values) :].tolist()


def _paint(axes: Axes, study: RecordedStudy, shown: Mapping[int, Sequence[Trial]]) -> None:
    champion = (study.champion or study.best_or_refuse()).number
    ranked = sorted(
        shown, key=lambda number: (number == champion, fmean(map(study.value, shown[number])))
    )
    for number in ranked:
        points = [_points(each) for each in shown[number]]
        steps = np.mean([steps for steps, _ in points], axis=0)
        values = np.array([values for _, values in points])
        config = shown[number][0].config
        crowned = number == champion
        memory = "no" if config["memory"] == "none" else config["memory"]
        title = f"trial {number}, {style.title(config['vision'])}, {memory} memory"
        title += ", champion" * (crowned and study.champion is not None)
        (line,) = axes.plot(
            steps,
            values.mean(axis=0),
            lw=1,
            marker=".",
            ms=3,
            label=title,
        )
        if crowned:
            line.set(color=style.BLUE, linewidth=2)
            least, most = values.min(axis=0), values.max(axis=0)
            axes.fill_between(steps, least, most, color=style.SKY, alpha=0.4, lw=0)
    level = study.fact(f"{PURSUIT.replace(' ', '_')}_return")
    axes.axhline(level, color=style.ORANGE, ls=":", lw=1, label=f"{PURSUIT}, test")
    for name, points, look in (("best", HA_BEST, "--"), ("mean", HA_MEAN, ":")):
        steps = [HA_STEPS * generation for generation in points]
        axes.plot(
            steps, [*points.values()], color=style.GREY, ls=look, marker=".", label=f"Ha, {name}"
        )


def _pictures(more: Mapping[str, np.ndarray]) -> Card:
    rows = [(title, more[name]) for name, title in ROWS.items() if name in more]
    told = "; ".join(PICTURED[name] for name in ROWS if name in more)
    return Card(
        title="what the vision makes of frames",
        name="vision",
        text="",
        table=pd.DataFrame(_errors(more)),
        figures={"vision": _grid(rows)},
        captions={"vision": f"From above: {told}."},
    )


def _errors(more: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """Returns the mean squared error of each shown frame's reconstruction and nearest frame."""
    true = more["true"] / 255
    found = {"frame": [float(n) for n in range(len(true))]}
    for name in ("again", "nearest"):
        if name in more:
            errors = np.square(more[name] / 255 - true).mean(axis=(1, 2, 3))
            found[f"mse of {ROWS[name]}"] = errors.tolist()
    return found


def _grid(rows: Sequence[tuple[str, np.ndarray]]) -> Figure:
    columns = max(len(frames) for _, frames in rows)
    with matplotlib.rc_context(style.LOOK):
        size = (CELL * columns + 1.9, (CELL + 0.06) * len(rows))
        figure = Figure(size, layout="constrained")
        cells = figure.subplots(len(rows), columns, squeeze=False)
        for line, (title, frames) in zip(cells, rows, strict=True):
            for cell in line:
                cell.set(xticks=[], yticks=[])
                cell.spines[:].set_visible(False)
            for cell, frame in zip(line, frames, strict=False):
                cell.imshow(frame.transpose(1, 2, 0), interpolation="nearest")
            words = title.replace(" of ", "\nof ").replace(" from ", "\nfrom ")
            line[0].set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8)
        return figure


def _animation(more: Mapping[str, np.ndarray]) -> Card:
    columns = [(title, more[name][::STRIDE]) for name, title in FILMS.items() if name in more]
    told = "; ".join(FILMED[name] for name in FILMS if name in more)
    tiles = pd.DataFrame({"tiles reached (share)": more["tiles"]})
    return Card(
        title="a drive",
        name="drive",
        text="",
        table=tiles,
        figures={"drive": film.play(columns)},
        captions={
            "drive": f"A drive on the first test track, a frame for every second action: {told}."
        },
    )
