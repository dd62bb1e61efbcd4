"""Tables and figure of docs/results-world-models.md; `benchmarks/figures.py` makes them."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from analysis import style
from analysis.markdown import table
from benchmarks.controller_results import TABLE, Row
from benchmarks.document import DOCS, Drawing, Page, grouped, of, spread
from trainables.visions import VISIONS

TITLES = {name: kind.title for name, kind in VISIONS.items()}
"""Kind of vision -> what it is called."""

MEMORIES = {"trained": "trained memory", "untrained": "untrained memory", "none": "no memory"}
"""Kind of memory -> what it is called."""

LOOKS = {
    "trained": (style.BLUE, "o"),
    "untrained": (style.ORANGE, "^"),
    "none": (style.GREY, "s"),
}
"""Kind of memory -> colour and marker of its trainings."""


def returns(rows: Sequence[Row], experiment: str = "verdicts") -> str:
    """Returns over seeds of each vision with each memory, best first."""
    groups = grouped(of(rows, experiment), lambda row: f"{row.vision} {row.memory}")
    groups.sort(key=lambda group: -np.mean([row.test_return for row in group[1]]))
    return table(
        ["vision", "memory", "test return", "validation return", "tiles", "steps", "seeds"],
        [
            [
                TITLES[group[0].vision],
                group[0].memory,
                spread([row.test_return for row in group], 0),
                spread([row.validation_return for row in group], 0),
                f"{np.mean([row.tiles for row in group]):.1%}",
                f"{np.mean([row.environment_steps for row in group]) / 1e6:.2f} M",
                str(len(group)),
            ]
            for _, group in groups
        ],
    )


def visions(rows: Sequence[Row]) -> str:
    """What the visions make of frames, over seeds."""
    groups = grouped(of(rows, "verdicts"), lambda row: row.vision)
    return table(
        ["vision", "reconstruction MSE (10⁻³)", "diversity of samples", "seeds"],
        [
            [
                TITLES[vision],
                spread([1000 * row.reconstruction_mse for row in trained], 2),
                spread([row.diversity for row in trained], 2),
                str(len(trained)),
            ]
            for vision, group in groups
            if (trained := [*{row.seed: row for row in group}.values()])
            and not math.isnan(trained[0].reconstruction_mse)
        ],
    )


def verdicts(rows: Sequence[Row]) -> str:
    """Differences of visions over memories and seeds, and of memories over visions and seeds."""
    found = of(rows, "verdicts")
    return table(
        ["one", "other", "test return: one less other", "95 % interval", "pairs"],
        [
            *_pairs(found, TITLES, lambda row: (row.vision, (row.memory, row.seed))),
            *_pairs(found, MEMORIES, lambda row: (row.memory, (row.vision, row.seed))),
        ],
    )


def _pairs(
    rows: Sequence[Row],
    names: dict[str, str],
    split: Callable[[Row], tuple[str, tuple[str, int]]],
) -> list[list[str]]:
    """Compares each kind with each other one by trainings that are otherwise alike, by Student's t
    over these pairs."""
    values = {split(row): row.test_return for row in rows}
    kinds = [kind for kind in names if any(own == kind for own, _ in values)]
    lines = []
    for one, other in combinations(kinds, 2):
        alike = [rest for own, rest in values if own == one and (other, rest) in values]
        differences = np.array([values[one, rest] - values[other, rest] for rest in alike])
        if len(differences) < 2:
            continue
        error = stats.sem(differences) * stats.t.ppf(0.975, len(differences) - 1)
        mean = differences.mean()
        lines.append(
            [
                names[one],
                names[other],
                f"{mean:+.0f}",
                f"{mean - error:+.0f} to {mean + error:+.0f}",
                str(len(differences)),
            ]
        )
    return lines


def paint(rows: Sequence[Row], figure: Figure) -> None:
    """Draws the test return of each training by vision and memory, and the mean over seeds."""
    found = of(rows, "verdicts")
    visions = [kind for kind in TITLES if any(row.vision == kind for row in found)]
    axes = figure.subplots()
    for place, (memory, (colour, marker)) in enumerate(LOOKS.items()):
        own = [row for row in found if row.memory == memory]
        x = np.array([visions.index(row.vision) + 0.2 * (place - 1) for row in own])
        y = [row.test_return for row in own]
        axes.scatter(x, y, color=colour, marker=marker, s=18, alpha=0.7, label=MEMORIES[memory])
        for at in np.unique(x):
            mean = np.mean([each for each, where in zip(y, x, strict=True) if where == at])
            axes.hlines(mean, at - 0.07, at + 0.07, color=colour, lw=2)
    axes.set_xticks(range(len(visions)), [TITLES[kind] for kind in visions])
    axes.set_ylabel("test return (line: mean over seeds)")
    axes.legend()


PAGE = Page(
    file=DOCS / "results-world-models.md",
    results=TABLE,
    tables={
        "returns": returns,
        "verdicts": verdicts,
        "visions": visions,
        "long": lambda rows: returns(rows, "long"),
    },
    drawings={"controller_returns": Drawing("verdicts", paint)},
)
