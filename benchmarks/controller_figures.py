"""Tables and figure of docs/results-world-models.md; `benchmarks/figures.py` makes them."""

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

from matplotlib.figure import Figure
from scipy import stats

from analysis import style
from analysis.markdown import table
from benchmarks.controller_results import TABLE, Row
from benchmarks.document import DOCS, Drawing, Page, grouped, of, spread
from datasets.errors import InputError
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


def returns(rows: Sequence[Row], experiment: str) -> str:
    """Returns over seeds of each vision with each memory, best first."""
    groups = grouped(of(rows, experiment), lambda row: f"{row.vision} {row.memory}")
    groups.sort(key=lambda group: -fmean(row.test_return for row in group[1]))
    return table(
        [
            *("vision", "memory", "test return", "validation return", "tiles reached"),
            *("environment steps", "minutes", "seeds"),
        ],
        [
            [
                TITLES[group[0].vision],
                group[0].memory,
                spread([row.test_return for row in group], 0),
                spread([row.validation_return for row in group], 0),
                f"{fmean(row.tiles for row in group):.1%}",
                f"{fmean(row.environment_steps for row in group) / 1e6:.1f} M",
                f"{fmean(row.seconds for row in group) / 60:.0f}",
                str(len({row.seed for row in group})),
            ]
            for _, group in groups
        ],
    )


def verdicts(rows: Sequence[Row]) -> str:
    """Differences between visions and between memories.

    Two visions, or two memories, are compared by pairs of trainings that are otherwise alike. The
    pairs of a seed share tracks and more, so that they are no independent samples: their
    differences are averaged. The interval is Student's t over the seeds, for these test tracks and
    for one line alone.

    Raises:
        InputError: If two trainings have the same vision, memory and seed.
    """
    found = of(rows, "verdicts")
    returned = {(row.vision, row.memory, row.seed): row.test_return for row in found}
    if len(returned) < len(found):
        raise InputError(
            f"{len(found)} rows of verdicts have {len(returned)} combinations of vision, memory "
            "and seed: expected one row each, of a study that lists one value of all else"
        )
    by_vision = {(kind, (rest, seed)): value for (kind, rest, seed), value in returned.items()}
    by_memory = {(kind, (rest, seed)): value for (rest, kind, seed), value in returned.items()}
    return table(
        ["A", "B", "test return, A less B", "95 % interval", "each seed"],
        [*_compared(by_vision, TITLES), *_compared(by_memory, MEMORIES)],
    )


def _compared(
    returned: dict[tuple[str, tuple[str, int]], float], titles: dict[str, str]
) -> list[list[str]]:
    """Compares each kind with each other one.

    Args:
        returned: Kind, and what else distinguishes a training, its seed last -> its return.
        titles: Kind -> what it is called.

    Returns:
        A line of the table for each two kinds with two seeds or more in common.
    """
    lines = []
    for one, other in combinations(titles, 2):
        seeds: dict[int, list[float]] = {}
        for kind, rest in returned:
            if kind == one and (other, rest) in returned:
                difference = returned[one, rest] - returned[other, rest]
                seeds.setdefault(rest[1], []).append(difference)
        if len(seeds) < 2:
            continue
        means = [fmean(seeds[seed]) for seed in sorted(seeds)]
        low, high = stats.ttest_1samp(means, 0).confidence_interval(0.95)
        lines.append(
            [
                *(titles[one], titles[other], f"{round(fmean(means)):+}"),
                f"{round(low):+} to {round(high):+}",
                ", ".join(f"{round(mean):+}" for mean in means),
            ]
        )
    return lines


def visions(rows: Sequence[Row]) -> str:
    """What the visions make of frames, over seeds; controllers of a seed share theirs."""
    trained = {
        name: [*{row.seed: row for row in group}.values()]
        for name, group in grouped(of(rows, "verdicts"), lambda row: row.vision)
    }
    return table(
        ["vision", "reconstruction MSE (10⁻³)", "diversity of samples", "seeds"],
        [
            [
                TITLES[name],
                _known([1000 * row.reconstruction_mse for row in group]),
                _known([row.diversity for row in group]),
                str(len(group)),
            ]
            for name, group in trained.items()
        ],
    )


def _known(values: Sequence[float]) -> str:
    """A column over seeds, or a dash where a vision has no such number."""
    return "–" if any(map(math.isnan, values)) else spread(values, 2)


def paint(rows: Sequence[Row], figure: Figure) -> None:
    """Draws the test return of each training by vision and memory, the means over seeds, and a
    thin line through the trainings of a vision that have a seed in common."""
    found = of(rows, "verdicts")
    shown = [kind for kind in TITLES if any(row.vision == kind for row in found)]
    places = dict(zip(LOOKS, (-0.2, 0.0, 0.2), strict=True))
    axes = figure.subplots()

    def at(row: Row) -> float:
        return shown.index(row.vision) + places[row.memory]

    for _, group in grouped(found, lambda row: f"{row.vision} {row.seed}"):
        group = sorted(group, key=at)
        axes.plot(
            [*map(at, group)],
            [row.test_return for row in group],
            color=style.LIGHT,
            lw=1,
            zorder=0,
        )
    for memory, (colour, marker) in LOOKS.items():
        own = [row for row in found if row.memory == memory]
        if not own:
            continue
        x, y = [*map(at, own)], [row.test_return for row in own]
        axes.scatter(x, y, color=colour, marker=marker, s=18, alpha=0.7, label=MEMORIES[memory])
        for _, group in grouped(own, lambda row: row.vision):
            mean = fmean(row.test_return for row in group)
            axes.hlines(mean, at(group[0]) - 0.07, at(group[0]) + 0.07, color=colour, lw=2)
    axes.set_xticks(range(len(shown)), [TITLES[kind] for kind in shown])
    axes.set_ylabel("test return (line: mean over seeds)")
    axes.legend()


PAGE = Page(
    file=DOCS / "results-world-models.md",
    results=TABLE,
    tables={
        "long": lambda rows: returns(rows, "long"),
        "returns": lambda rows: returns(rows, "verdicts"),
        "verdicts": verdicts,
        "visions": visions,
    },
    drawings={"controller_returns": Drawing("verdicts", paint)},
)
