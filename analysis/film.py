"""Rollouts to look at: a film strip and an animation, pixels enlarged as they are."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from analysis import style
from analysis.rollout_scores import RolloutScores

COLUMNS = (1, 3, 6, 10, 15, 20, 30, 45, 60, 80, 100, 125, 150)
"""Horizons of the film strip, as far as the episodes go."""

CELL = 0.75
"""Side of a frame of the strip, in inches."""

SIDE = 192
"""Pixels on a side of a frame of the animation, at least."""

CAPTION = 18
"""Pixels above it."""

MILLISECONDS = 60
"""A step of the animation; the simulator's is 20."""

Columns = Sequence[tuple[str, np.ndarray]]
"""Films of one length: what is called what, which is written in two lines where there is a comma,
and its frames, (horizons, 3, S, S) uint8."""

Shown = Sequence[tuple[str, RolloutScores]]
"""Models by their titles."""


def rows(shown: Shown) -> list[tuple[str, np.ndarray]]:
    """The truth, and of each model both rollouts: what is called what, (horizons, 3, S, S)."""
    found = [("truth", shown[0][1].truth)]
    for title, made in shown:
        found.append((f"{title}, teacher-forced", made.teacher_forced))
        found.append((f"{title}, autoregressive", made.autoregressive))
    return found


def strip(shown: Shown) -> Figure:
    """Draws some frames of the first test episode, a row a rollout, a column a horizon."""
    lines = rows(shown)
    columns = [horizon for horizon in COLUMNS if horizon <= len(lines[0][1])]
    with matplotlib.rc_context(style.LOOK):
        size = (CELL * len(columns) + 1.2, (CELL + 0.04) * len(lines) + 0.4)
        figure = Figure(size, layout="constrained")
        cells = figure.subplots(len(lines), len(columns), squeeze=False)
        for line, (title, frames) in zip(cells, lines, strict=True):
            for cell, horizon in zip(line, columns, strict=True):
                cell.imshow(frames[horizon - 1].transpose(1, 2, 0), interpolation="nearest")
                cell.set(xticks=[], yticks=[])
                cell.spines[:].set_visible(False)
            name = title.replace(", ", "\n")
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        for cell, horizon in zip(cells[0], columns, strict=True):
            cell.set_title(str(horizon), fontsize=8)
        figure.suptitle("frames after the context", fontsize=9)
        return figure


def animation(shown: Shown) -> bytes:
    """Plays all frames of the first test episode, the rollouts side by side, as a GIF."""
    return play(rows(shown))


def play(columns: Columns) -> bytes:
    """Plays films side by side, as a GIF."""
    frames = [_picture(columns, step) for step in range(len(columns[0][1]))]
    first, *others = frames
    file = io.BytesIO()
    first.save(
        file, format="gif", save_all=True, append_images=others, duration=MILLISECONDS, loop=0
    )
    return file.getvalue()


def _picture(columns: Columns, step: int) -> Image.Image:
    size = columns[0][1].shape[-1]
    side = size * -(-SIDE // size)
    whole = Image.new("RGB", (side * len(columns), side + 2 * CAPTION), "white")
    draw = ImageDraw.Draw(whole)
    for place, (title, frames) in enumerate(columns):
        frame = Image.fromarray(np.ascontiguousarray(frames[step].transpose(1, 2, 0)))
        left = place * side
        whole.paste(frame.resize((side, side), Image.Resampling.NEAREST), (left, 2 * CAPTION))
        caption = f"{title}, frame {step + 1}" if place == 0 else title
        draw.multiline_text((left + 4, 4), caption.rpartition(", ")[0], fill="black")
        draw.text((left + 4, 4 + CAPTION), caption.rpartition(", ")[2], fill="black")
    return whole
