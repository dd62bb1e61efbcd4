"""The style of figures: legible in print, for colour-blind readers and without colour.

Colours are those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color); lines that share a
panel also differ in their dash pattern.
"""

import io
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from datasets.files import write_whole
from trainables.models import families
from trainables.visions import VISIONS

BLUE = "#0072B2"
SKY = "#56B4E9"
VERMILLION = "#D55E00"
ORANGE = "#E69F00"
GREY = "#555555"
LIGHT = "#DDDDDD"

RESOLUTION = 200
"""Dots per inch of a PNG."""

MOST_COLUMNS = 3
"""Largest number of panels in a row."""

BESIDE = 0.8
"""Width, in panels, of a legend that has no free cell of the grid."""

LOOK: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.5,
    "pdf.fonttype": 42,  # text stays text: searchable, editable
}

CORES = {
    "builtin": "torch.nn.LSTM",
    "scratch": "LSTM from scratch",
    "transformer": "transformer",
}
"""Core of the world models -> its name in figures and tables."""


def family_titles() -> dict[str, str]:
    """Returns key of each family of graph neural networks -> its name as papers write it."""
    return {family.key: family.title for family in families.FAMILIES}


def title(value: str) -> str:
    """Returns the display name of a compared value, such as a family; else the value itself."""
    visions = {name: kind.title for name, kind in VISIONS.items()}
    return {**family_titles(), **CORES, **visions}.get(value, value)


def plain(text: str) -> str:
    """Escapes ``$`` in a user's text, which matplotlib would otherwise read as a formula."""
    return text.replace("$", r"\$")


def draw(
    size: tuple[float, float],
    count: int,
    labels: tuple[str, str],
    paint: Callable[[Sequence[Axes]], None],
) -> Figure:
    """Draws a figure of small multiples that share both axes and one legend.

    Args:
        size: Width and height of a panel, in inches.
        count: Number of panels.
        labels: Labels of the horizontal and the vertical axis, with units.
        paint: Draws into the panels; artists to which it gives a label appear in the legend.
    """
    columns = min(MOST_COLUMNS, math.ceil(math.sqrt(count)))
    rows = math.ceil(count / columns)
    width = columns if count < rows * columns else columns + BESIDE
    with matplotlib.rc_context(LOOK):
        figure = Figure((size[0] * width, size[1] * rows), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        panels: list[Axes] = list(grid.flat)[:count]
        spare: list[Axes] = list(grid.flat)[count:]
        paint(panels)
        _label(panels, columns, labels)
        _legend(figure, spare[0] if spare else None, panels)
        for cell in spare:
            cell.set_axis_off()
        return figure


def _label(panels: Sequence[Axes], columns: int, labels: tuple[str, str]) -> None:
    """Labels the left of each row and the bottom of each column."""
    for place, panel in enumerate(panels):
        lowest = place + columns >= len(panels)
        panel.tick_params(labelbottom=lowest)
        panel.set_xlabel(plain(labels[0]) if lowest else "")
        panel.set_ylabel(plain(labels[1]) if place % columns == 0 else "")


def _legend(figure: Figure, cell: Axes | None, panels: Sequence[Axes]) -> None:
    """Draws a legend with one entry for each label of any panel, in a free cell or beside the
    panels."""
    entries = {}
    for panel in panels:
        for handle, text in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    if cell is None:
        legend = figure.legend(entries.values(), entries.keys(), loc="outside right center")
    else:
        legend = cell.legend(entries.values(), entries.keys(), loc="center left")
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)  # one dot at the opacity of thousands would be invisible


def save(figure: Figure, path: Path) -> list[Path]:
    """Writes a figure as PNG for the screen and as PDF for print; returns both paths.

    The same numbers give the same bytes.
    """
    printed = path.with_suffix(".pdf")
    _write(figure, printed, metadata={"CreationDate": None})
    return [picture(figure, path), printed]


def picture(figure: Figure, path: Path) -> Path:
    """Writes a figure as PNG, without the metadata that matplotlib adds; returns the path."""
    file = path.with_suffix(".png")
    _write(figure, file, dpi=RESOLUTION, metadata={"Software": None})
    return file


def copied(figure: Figure) -> Figure:
    """Returns a copy of a figure for saving.

    The figure is laid out by the first call only, at the resolution of PNGs: a layout takes half
    of the time of saving, and would depend on the resolution of each file, and on the one before.
    """
    if isinstance(engine := figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.set_dpi(RESOLUTION)
        engine.execute(figure)
        figure.set_layout_engine("none")
    return pickle.loads(pickle.dumps(figure))


def _write(figure: Figure, path: Path, **options: Any) -> None:
    content = io.BytesIO()
    with matplotlib.rc_context(LOOK):
        copied(figure).savefig(content, format=path.suffix[1:], **options)
    write_whole(path, content.getbuffer())
