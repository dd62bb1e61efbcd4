"""Gymnasium's CarRacing with frames drawn from arrays: fast, and without the dashboard.

Gymnasium maps and draws some 700 polygons a frame one by one in Python, which takes most of a
step. Here the polygons of a track are one array, made when the track is: a frame maps all of them
to the picture at once, and a compiled loop fills them. Motion and rewards are Gymnasium's own. A
frame has the 84 rows above the dashboard, which shows the score as a number; Ha and Schmidhuber
cropped it in the same way.

Sources: Klimov, CarRacing, in Gymnasium 1.4 (https://gymnasium.farama.org/environments/box2d);
Ha and Schmidhuber 2018, World Models (https://worldmodels.github.io).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.box2d import car_racing
from gymnasium.envs.box2d.car_racing import STATE_H, STATE_W, WINDOW_H, WINDOW_W, CarRacing

from datasets.drawn_car import CAR_COLORS, car_polygons
from datasets.polygons import FINE, SQUARE, blank, fill, mapped, pixels

ROWS, COLUMNS = 84, STATE_W
"""Height and width of a frame, in pixels."""

DARKER = 2
"""How much darker than its polygon a pixel of Gymnasium's frames is, of 255: pygame's smooth
scaling rounds down twice."""


class DrawnCarRacing(CarRacing):
    """CarRacing whose observations, (84, 96, 3) uint8, are drawn from arrays.

    What ``render`` shows is drawn by Gymnasium, with the dashboard.

    Attributes:
        draws: Whether a step draws its observation; if not, the last one is returned again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Box(0, 255, (ROWS, COLUMNS, 3), np.uint8)
        self.draws = True

    def _create_track(self) -> bool:
        is_made = super()._create_track()
        if is_made:
            self._draw_from_arrays()
        return is_made

    def _draw_from_arrays(self) -> None:
        """Makes arrays of everything below the car: the field, its squares of grass, the road.

        Gymnasium repaints a tile that is touched by writing into the tile's colour, which
        therefore becomes a row of the array of colours.
        """
        points, colors = zip(*self.road_poly, strict=True)
        grass = grass_squares()
        field = car_racing.PLAYFIELD * SQUARE[None]
        self._ground = np.concatenate([field, grass, points])
        paint = [self.bg_color, *[self.grass_color] * len(grass), *colors]
        self._paint = np.array(paint, float)
        rows = self._paint[-len(colors) :]
        row_of = {id(color): row for color, row in zip(colors, rows, strict=True)}
        for tile in self.road or ():
            tile.color = row_of[id(tile.color)]
        self.road_poly = list(zip(points, rows, strict=True))

    def _render(self, mode: str) -> Any:
        if mode != "state_pixels":
            return super()._render(mode)
        return self._frame() if self.draws else self.state

    def _frame(self) -> np.ndarray:
        assert self.car is not None  # there is a track
        samples, hull = blank(ROWS, COLUMNS), self.car.hull
        for polygons, colors in (
            (self._ground, self._paint),
            (car_polygons(self.car), CAR_COLORS),
        ):
            darkened = (colors - DARKER).clip(0).astype(np.uint8)
            fill(samples, seen(polygons, hull.position, hull.angle, self.t), darkened)
        return pixels(samples)


def grass_squares() -> np.ndarray:
    """Returns the light squares of the field's pattern, (400, 4, 2), in the simulator's units."""
    places = np.arange(-20, 20, 2) + 0.5
    middles = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    return car_racing.GRASS_DIM * (middles + SQUARE / 2)


def seen(
    points: np.ndarray, position: Sequence[float], angle: float, seconds: float
) -> np.ndarray:
    """Maps points of the world to the picture of the camera that follows the car.

    Args:
        points: (polygons, corners, 2), in the simulator's units.
        position: Of the car.
        angle: Of the car, in radians.
        seconds: Since the start; in the first second the camera zooms in.

    Returns:
        (polygons, corners, 2), column and row in samples.
    """
    zoom = car_racing.SCALE * (0.1 * max(1 - seconds, 0) + car_racing.ZOOM * min(seconds, 1))
    cosine, sine = math.cos(angle), math.sin(angle)
    turned = zoom * np.array([[cosine, -sine], [sine, cosine]])
    scaled = turned * FINE * [STATE_W / WINDOW_W, -STATE_H / WINDOW_H]
    car = FINE * np.array([STATE_W / 2, STATE_H * 3 / 4])
    return mapped(points, scaled, car - position[0] * scaled[0] - position[1] * scaled[1])
