"""Pictures of convex polygons: compiled loops that fill samples and average them to pixels.

A picture has `FINE` x `FINE` samples a pixel. A sample has the colour of the last polygon that its
centre lies in.
"""

import math

import numpy as np

from datasets.compiled import compiled

FINE = 3
"""Samples of a pixel along each axis."""

CHANNELS = 3
"""Red, green, blue; a constant, like `FINE`, so that the loops over it are unrolled."""

SQUARE = np.array([(-1.0, 1.0), (1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)])
"""Corners of a square around the origin, (4, 2)."""


def blank(rows: int, columns: int) -> np.ndarray:
    """Returns the black samples of a picture of so many pixels,
    (rows * FINE, columns * FINE, 3) uint8."""
    return np.zeros((rows * FINE, columns * FINE, CHANNELS), np.uint8)


@compiled()
def mapped(points: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Maps points by a matrix, whose rows are the images of the axes, and an offset.

    A loop, as NumPy's product of matrices may wait for threads for longer than this takes.

    Args:
        points: (polygons, corners, 2) float64.
        matrix: (2, 2) float64.
        offset: (2,) float64.
    """
    images = np.empty_like(points)
    for polygon in range(len(points)):
        for corner in range(points.shape[1]):
            x, y = points[polygon, corner]
            for axis in range(2):
                images[polygon, corner, axis] = (
                    x * matrix[0, axis] + y * matrix[1, axis] + offset[axis]
                )
    return images


@compiled()
def fill(samples: np.ndarray, polygons: np.ndarray, colors: np.ndarray) -> None:
    """Fills convex polygons one after the other, as far as they lie in the picture.

    Args:
        samples: (rows, columns, 3) uint8, changed in place.
        polygons: (polygons, corners, 2) float64: column and row of each corner in samples, from
            the picture's upper left corner. A polygon may repeat a corner.
        colors: (polygons, 3) uint8.
    """
    rows, columns = samples.shape[:2]
    for number in range(len(polygons)):
        corners = polygons[number]
        left, right = _covered(*_extent(corners, 0), columns)
        top, bottom = _covered(*_extent(corners, 1), rows)
        for row in range(top, bottom if left < right else top):
            left, right = _covered(*_crossed(corners, row + 0.5), columns)
            for column in range(left, right):
                for channel in range(CHANNELS):
                    samples[row, column, channel] = colors[number, channel]


@compiled()
def _extent(corners: np.ndarray, axis: int) -> tuple[float, float]:
    """Returns the least and the largest coordinate of a polygon along an axis."""
    low = high = corners[0, axis]
    for corner in range(1, len(corners)):
        low, high = min(low, corners[corner, axis]), max(high, corners[corner, axis])
    return low, high


@compiled()
def _covered(low: float, high: float, size: int) -> tuple[int, int]:
    """Returns the first and, exclusive, the last of `size` samples whose centres lie between two
    places."""
    return max(0, math.ceil(low - 0.5)), min(size, math.ceil(high - 0.5))


@compiled()
def _crossed(corners: np.ndarray, height: float) -> tuple[float, float]:
    """Returns the leftmost and the rightmost place where the edges of a polygon cross a height."""
    left, right = math.inf, -math.inf
    for corner in range(len(corners)):
        x, y = corners[corner]
        before_x, before_y = corners[corner - 1]
        if (y <= height) != (before_y <= height):
            crossing = x + (height - y) / (before_y - y) * (before_x - x)
            left, right = min(left, crossing), max(right, crossing)
    return left, right


@compiled()
def pixels(samples: np.ndarray) -> np.ndarray:
    """Averages the samples of each pixel, (rows * FINE, columns * FINE, 3) uint8, to a picture of
    shape (rows, columns, 3) uint8."""
    rows, columns = len(samples) // FINE, samples.shape[1] // FINE
    picture = np.empty((rows, columns, CHANNELS), np.uint8)
    for row in range(rows):
        for column in range(columns):
            for channel in range(CHANNELS):
                total = FINE * FINE // 2  # rounds to the nearest
                for down in range(FINE):
                    for right in range(FINE):
                        total += samples[row * FINE + down, column * FINE + right, channel]
                picture[row, column, channel] = total // (FINE * FINE)
    return picture
