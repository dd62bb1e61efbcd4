"""Documents whose tables and figures are made of the rows of benchmarks.

A table stands between `<!-- table NAME -->` and `<!-- end -->`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from statistics import mean, stdev
from typing import Any, TypeVar

import matplotlib
from matplotlib.figure import Figure

from analysis.style import LOOK, RESOLUTION
from trainables.config import FitConfig

Row = TypeVar("Row")

DOCS = Path(__file__).resolve().parent.parent / "docs"
IMAGES = DOCS / "images"


def spread(values: Sequence[float], digits: int) -> str:
    """``mean ± standard deviation`` over seeds; the number itself where there is one."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def changes(config: FitConfig, default: FitConfig, ignored: Sequence[str]) -> str:
    """Where a configuration differs from another one of its kind, in words.

    Args:
        config: The configuration.
        default: The other one.
        ignored: Fields that are not told.
    """
    parts = []
    for field in fields(config):
        value: Any = getattr(config, field.name)
        if field.name not in ignored and value != getattr(default, field.name):
            shown = f"{value:.3g}" if isinstance(value, float) else str(value)
            parts.append(f"{field.name} {shown}")
    return ", ".join(parts) or "the default"


def fill(
    text: str, tables: Mapping[str, Callable[[Sequence[Row]], str]], rows: Sequence[Row]
) -> str:
    """A document with its tables made anew of rows."""

    def anew(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"<!-- table {name} -->\n\n{tables[name](rows)}\n\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->.*?<!-- end -->", anew, text, flags=re.DOTALL)


def draw(path: Path, size: tuple[float, float], paint: Callable[[Figure], None]) -> Path:
    """Draws a figure as PNG; the same numbers give the same bytes.

    Args:
        path: Where to.
        size: Width and height in inches.
        paint: Fills the figure.
    """
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        figure.savefig(path, dpi=RESOLUTION, metadata={"Software": None})
    return path
