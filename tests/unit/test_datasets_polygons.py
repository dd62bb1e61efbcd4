"""Polygons filled in samples, and samples averaged to pixels."""

import numpy as np

from datasets.polygons import FINE, SQUARE, blank, fill, pixels

RED, GREEN = (90, 0, 0), (0, 180, 0)
SIDE = 2 * FINE
"""Samples on a side of a picture of 2 x 2 pixels."""


def picture(*drawn: tuple[np.ndarray, tuple[int, int, int]]) -> np.ndarray:
    """A picture of 2 x 2 pixels of some polygons, whose corners are in samples."""
    samples = blank(2, 2)
    polygons, colors = zip(*drawn, strict=True)
    fill(samples, np.array(polygons, float), np.array(colors, np.uint8))
    return pixels(samples)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def test_a_pixel_has_the_mean_colour_of_its_samples() -> None:
    """Of the nine samples of a pixel the box covers none, three or all."""
    found = picture((box(0, 0, FINE + 1, FINE), RED))
    assert found.tolist() == [[[90, 0, 0], [30, 0, 0]], [[0, 0, 0], [0, 0, 0]]]


def test_a_sample_belongs_to_a_polygon_if_its_centre_does() -> None:
    assert (picture((box(0.4, 0.4, SIDE - 0.4, SIDE - 0.4), RED)) == RED).all()
    inside = picture((box(0.6, 0, SIDE, SIDE), RED))[:, 0, 0]
    assert inside.tolist() == [60, 60]


def test_means_are_rounded_to_the_nearest() -> None:
    """Of nine samples one of 40, which makes 4.4, and one of 50, which makes 5.6."""
    low, high = (picture((box(0, 0, 1, 1), (each, 0, 0)))[0, 0, 0] for each in (40, 50))
    assert (low, high) == (4, 6)


def test_later_polygons_cover_earlier_ones() -> None:
    whole, left = box(0, 0, SIDE, SIDE), box(0, 0, FINE, SIDE)
    found = picture((whole, RED), (left, GREEN))
    assert (found[:, 0] == GREEN).all() and (found[:, 1] == RED).all()
    assert (picture((left, GREEN), (whole, RED)) == RED).all()


def test_what_lies_outside_is_left_out_and_what_reaches_outside_is_cut_off() -> None:
    far = [box(-9, 0, -1, SIDE), box(SIDE + 1, 0, 99, SIDE), box(0, -9, SIDE, -1)]
    assert not picture(*[(each, RED) for each in (*far, box(0, SIDE + 1, SIDE, 99))]).any()
    assert (picture((box(-99, -99, 99, 99), RED)) == RED).all()


def test_the_order_of_corners_and_repeated_ones_do_not_matter() -> None:
    """A square on its tip; and a polygon without area is nothing."""
    tip = FINE + 2.9 * SQUARE @ np.array([(0.5, 0.5), (-0.5, 0.5)])
    turned, padded = tip[::-1], np.concatenate([tip, tip[-1:]])
    expected = picture((tip, RED))
    assert 0 < expected.sum() < 4 * 90
    np.testing.assert_array_equal(picture((turned, RED)), expected)
    np.testing.assert_array_equal(picture((padded, RED)), expected)
    assert not picture((box(0, 1.2, SIDE, 1.2), RED)).any()
