"""The polygons of CarRacing's car, as arrays.

Source: Klimov, CarRacing, in Gymnasium 1.4 (https://gymnasium.farama.org/environments/box2d).
"""

import math
from typing import Any

import numpy as np
from gymnasium.envs.box2d import car_dynamics

from datasets.polygons import SQUARE

TREAD_ARC = 1.2
"""Arc of a wheel that is painted white, in radians."""

RADIUS = car_dynamics.SIZE * car_dynamics.WHEEL_R
"""Radius of a wheel, in the simulator's units."""


def _padded(corners: Any) -> np.ndarray:
    """Returns a polygon of Gymnasium's car in the simulator's units, (8, 2); its last corner is
    repeated."""
    return car_dynamics.SIZE * np.array([*corners, *[corners[-1]] * (8 - len(corners))], float)


WHEEL = _padded(SQUARE * (car_dynamics.WHEEL_W, car_dynamics.WHEEL_R))
"""A wheel from above, the front first, in its own coordinates."""

HULL = [
    _padded(car_dynamics.HULL_POLY1),
    _padded(car_dynamics.HULL_POLY2),
    _padded(car_dynamics.HULL_POLY3),
    _padded(car_dynamics.HULL_POLY4),
]
"""The polygons of the hull, in its own coordinates."""

HULL_COLOR = (204, 0, 0)
"""The red of Gymnasium's hull, 0.8 of 255."""

BODIES = [0, 1, 2, 3, 0, 1, 2, 3, 4, 4, 4, 4]
"""The body that each of the car's polygons belongs to: four wheels, their treads, the hull."""

CAR_COLORS = np.array(
    [*[car_dynamics.WHEEL_COLOR] * 4, *[car_dynamics.WHEEL_WHITE] * 4, *[HULL_COLOR] * 4]
)
"""Colours of the car's polygons, from 0 to 255."""


def car_polygons(car: Any) -> np.ndarray:
    """Returns the corners of the car's polygons, in the order of `CAR_COLORS`, in the simulator's
    units: (12, 8, 2).

    Args:
        car: Gymnasium's car.
    """
    bodies = [*car.wheels, car.hull]
    poses = [(math.cos(body.angle), math.sin(body.angle), *body.position) for body in bodies]
    cosine, sine, x, y = np.array(poses)[BODIES].T[:, :, None]
    treads = [tread(wheel.phase) for wheel in car.wheels]
    right, ahead = np.array([*[WHEEL] * 4, *treads, *HULL]).transpose(2, 0, 1)
    return np.stack([cosine * right - sine * ahead + x, sine * right + cosine * ahead + y], -1)


def tread(phase: float) -> np.ndarray:
    """Returns the white part of a wheel as it is seen from above, (8, 2), in the wheel's own
    coordinates; a polygon without area if it is below the wheel.

    Args:
        phase: How far the wheel has turned, in radians.
    """
    corners = WHEEL.copy()
    ends = [(math.sin(angle), math.cos(angle)) for angle in (phase, phase + TREAD_ARC)]
    if all(sine > 0 for sine, _ in ends):
        corners[:, 1] = 0
        return corners
    begin, end = (math.copysign(1, cosine) if sine > 0 else cosine for sine, cosine in ends)
    corners[:2, 1] = RADIUS * begin
    corners[2:, 1] = RADIUS * end
    return corners
