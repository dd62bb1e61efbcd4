"""Pages of docs/ whose tables and figures are made of the rows of docs/results.

A table stands between `<!-- table NAME -->` and `<!-- end -->`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Generic

import matplotlib
from matplotlib.figure import Figure

from analysis.style import LOOK, RESOLUTION
from benchmarks.result_table import AnyRow, ResultTable
from trainables.config import FitConfig

DOCS = Path(__file__).resolve().parent.parent / "docs"
IMAGES = DOCS / "images"


@dataclass(frozen=True)
class Drawing(Generic[AnyRow]):
    """A figure.

    Attributes:
        needs: The experiment without whose rows it cannot be drawn.
        paint: Draws rows into a figure.
        size: Width and height in inches.
    """

    needs: str
    paint: Callable[[Sequence[AnyRow], Figure], None]
    size: tuple[float, float] = (6.0, 3.6)

    def draw(self, path: Path, rows: Sequence[AnyRow]) -> Path:
        """Draws the figure as PNG; the same numbers give the same bytes."""
        with matplotlib.rc_context(LOOK):
            figure = Figure(figsize=self.size, layout="constrained")
            self.paint(rows, figure)
            figure.savefig(path, dpi=RESOLUTION, metadata={"Software": None})
        return path


@dataclass(frozen=True)
class Page(Generic[AnyRow]):
    """A page of docs/.

    Attributes:
        file: The page.
        results: Where its rows are.
        tables: Name of a table -> makes it of rows, as Markdown.
        drawings: Name of a file in docs/images -> what it shows.
    """

    file: Path
    results: ResultTable[AnyRow]
    tables: Mapping[str, Callable[[Sequence[AnyRow]], str]]
    drawings: Mapping[str, Drawing[AnyRow]]

    def make(self, images: Path = IMAGES) -> Iterator[Path]:
        """Draws the figures into a folder and fills the tables into the page; gives the file of
        each. A figure without rows is left out."""
        rows = self.results.read()
        for name, drawing in self.drawings.items():
            if of(rows, drawing.needs):
                yield drawing.draw(images / f"{name}.png", rows)
        text = self.filled(self.file.read_text(encoding="utf-8"), rows)
        self.file.write_text(text, encoding="utf-8")
        yield self.file

    def filled(self, text: str, rows: Sequence[AnyRow]) -> str:
        """A text with its tables made anew of rows."""

        def anew(match: re.Match[str]) -> str:
            name = match.group(1)
            return f"<!-- table {name} -->\n\n{self.tables[name](rows)}\n\n<!-- end -->"

        return re.sub(r"<!-- table (\w+) -->.*?<!-- end -->", anew, text, flags=re.DOTALL)


def of(rows: Sequence[AnyRow], experiment: str) -> list[AnyRow]:
    """The rows of one experiment."""
    return [row for row in rows if row.experiment == experiment]


def grouped(
    rows: Sequence[AnyRow], name: Callable[[AnyRow], str]
) -> list[tuple[str, list[AnyRow]]]:
    """Rows by a name that each has, in the order in which the names come up."""
    groups: dict[str, list[AnyRow]] = {}
    for row in rows:
        groups.setdefault(name(row), []).append(row)
    return list(groups.items())


def spread(values: Sequence[float], digits: int) -> str:
    """``mean ± standard deviation`` over seeds; the number itself where there is one."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def changes(config: FitConfig, default: FitConfig) -> str:
    """Where a configuration differs from another one of its kind, in words; epochs and seed are
    not told."""
    parts = []
    for field in fields(config):
        value: Any = getattr(config, field.name)
        if field.name not in ("seed", "epochs") and value != getattr(default, field.name):
            shown = f"{value:.3g}" if isinstance(value, float) else str(value)
            parts.append(f"{field.name} {shown}")
    return ", ".join(parts) or "the default"
