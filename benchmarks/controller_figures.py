"""Table of docs/results-world-models.md; `benchmarks/figures.py` makes it."""

from collections.abc import Sequence
from statistics import fmean

from analysis.markdown import table
from benchmarks.controller_results import TABLE, Row
from benchmarks.document import DOCS, Page, grouped, of, spread
from trainables.visions import VISIONS


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
                VISIONS[group[0].vision].title,
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


PAGE = Page(
    file=DOCS / "results-world-models.md",
    results=TABLE,
    tables={"long": lambda rows: returns(rows, "long")},
    drawings={},
)
