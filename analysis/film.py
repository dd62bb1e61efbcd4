"""Pictures of rollouts: a film strip and an animated GIF, with pixels enlarged and unsmoothed."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from analysis import style
from analysis.rollout_scores import RolloutScores

COLUMNS = (1, 3, 6, 10, 15, 20, 30, 45, 60, 80, 100, 125, 150)
"""Horizons (frames after the context) shown in the film strip; those beyond the rollout are left
out."""

CELL = 0.75
"""Side of a frame in the film strip, in inches."""

SIDE = 192
"""Minimum side of a frame in the animation, in pixels."""

CAPTION = 18
"""Height of one of the two caption lines above a frame of the animation, in pixels."""

MILLISECONDS = 60
"""Duration of a frame of the animation; a step of the simulator takes 20 ms."""

Columns = Sequence[tuple[str, np.ndarray]]
"""Films of equal length, each as (title, frames): a title with a comma is written in two lines;
frames are (horizons, 3, S, S) uint8."""

Shown = Sequence[tuple[str, RolloutScores]]
"""Models as (title, test rollouts)."""


def rows(shown: Shown) -> list[tuple[str, np.ndarray]]:
    """Returns title and frames, (horizons, 3, S, S) uint8, of the truth and of each model's
    teacher-forced and autoregressive rollout."""
    found = [("truth", shown[0][1].truth)]
    for title, made in shown:
        found.append((f"{title}, teacher-forced", made.teacher_forced))
        found.append((f"{title}, autoregressive", made.autoregressive))
    return found


def strip(shown: Shown) -> Figure:
    """Draws some frames of the first test episode: one row per rollout, one column per horizon."""
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
    """Renders all frames of the first test episode, rollouts side by side, as bytes of a GIF."""
    return play(rows(shown))


def play(columns: Columns) -> bytes:
    """Renders films side by side, as bytes of an animated GIF."""
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
