"""The CarRacing that is drawn from arrays beside Gymnasium's own."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium.envs.box2d.car_racing import PLAYFIELD, CarRacing

from datasets.car_racing import DRIVERS, ZOOM_SECONDS
from datasets.drawn_car import WHEEL, tread
from datasets.drawn_car_racing import ROWS, DrawnCarRacing

STEPS = 40


class Pair:
    """Both simulators on one track, driven alike.

    Args:
        seed: Seed of track and driver.
        driver: Name of the driver.
        seconds: Time that both clocks are set to.
    """

    def __init__(self, seed: int, driver: str, seconds: float = ZOOM_SECONDS) -> None:
        self.simulators: tuple[Any, Any] = CarRacing(), DrawnCarRacing()
        for simulator in self.simulators:
            simulator.reset(seed=seed)
            simulator.t = seconds
        self.act = DRIVERS[driver](self.simulators[0], np.random.default_rng(seed))

    def step(self) -> Iterator[tuple[np.ndarray, float, bool]]:
        """Frame without the dashboard, reward and end, of Gymnasium's and of ours."""
        action = self.act()
        for simulator in self.simulators:
            frame, reward, end, _, _ = simulator.step(action)
            yield frame[:ROWS], reward, end

    def difference(self) -> float:
        """Mean absolute difference of the frames after a step, of 255."""
        (one, *_), (other, *_) = self.step()
        return float(np.abs(one.astype(int) - other).mean())

    def poses(self) -> list[list[float]]:
        """Position, angle and velocity of each car and the turn of its wheels."""
        return [
            [
                *(*each.car.hull.position, each.car.hull.angle, *each.car.hull.linearVelocity),
                *[wheel.phase for wheel in each.car.wheels],
            ]
            for each in self.simulators
        ]


@pytest.mark.parametrize("driver", DRIVERS)
def test_rewards_and_motion_are_gymnasium_s(driver: str) -> None:
    """Over a drive; random actions leave the road."""
    pair = Pair(3, driver)
    for _ in range(160):
        one, other = pair.step()
        assert one[1:] == other[1:]
    first, second = pair.poses()
    assert first == second


@pytest.mark.parametrize("seed", range(10))
def test_frames_differ_from_gymnasium_s_by_less_than_half_a_level(seed: int) -> None:
    """Mean absolute difference of the pixels, of 255, over a drive on each of ten tracks."""
    pair = Pair(seed, "pursuit" if seed % 2 else "random")
    assert np.mean([pair.difference() for _ in range(STEPS)]) < 0.5


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.7])
def test_the_camera_zooms_in_as_gymnasium_s(seconds: float) -> None:
    assert Pair(3, "pursuit", seconds).difference() < 0.5


def test_the_car_looks_as_gymnasium_s() -> None:
    """Its pixels, and those around it: 12 x 8 of the frame."""
    pair = Pair(3, "pursuit")
    spots = []
    for _ in range(STEPS):
        (one, *_), (other, *_) = pair.step()
        spots.append((one[66:78, 44:52].astype(int), other[66:78, 44:52].astype(int)))
    one, other = np.stack(spots, axis=1)
    assert (one[..., 0] > one[..., 1] + 30).any(axis=(1, 2)).all()  # the hull is red
    assert np.abs(one - other).mean() < 3.8  # 4.1 without the white of its wheels


def test_a_tile_that_is_touched_changes_its_colour() -> None:
    pair = Pair(3, "pursuit")
    for _ in range(STEPS):
        list(pair.step())
    own, drawn = pair.simulators
    expected = np.array([color for _, color in own.road_poly])
    np.testing.assert_array_equal([color for _, color in drawn.road_poly], expected)
    np.testing.assert_array_equal(drawn._paint[-len(expected) :], expected)
    drawn.reset(seed=3)
    assert (expected != [color for _, color in drawn.road_poly]).any()


def test_beyond_the_field_all_is_black_and_the_drive_ends() -> None:
    pair = Pair(3, "random")
    for simulator in pair.simulators:
        away = PLAYFIELD + 1 - simulator.car.hull.position[0], 0.0
        for body in (simulator.car.hull, *simulator.car.wheels):
            body.position += away
    (one, *left), (other, *again) = pair.step()
    assert left == again == [-100, True]
    assert (other == 0).all(axis=-1).mean() > 0.2
    assert np.abs(one.astype(int) - other).mean() < 0.5


def test_a_lap_ends_where_gymnasium_s_does() -> None:
    pair = Pair(3, "pursuit")
    for simulator in pair.simulators:
        simulator.tile_visited_count = len(simulator.track)
    one, other = pair.step()
    assert one[1:] == other[1:] and other[2]


def test_a_reset_draws_the_new_track() -> None:
    used, fresh = DrawnCarRacing(), DrawnCarRacing()
    used.reset(seed=1)
    first, again = (each.reset(seed=2)[0] for each in (used, fresh))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != used.reset(seed=1)[0])


def test_an_observation_is_of_the_space_and_what_is_shown_is_gymnasium_s() -> None:
    pair = Pair(3, "pursuit")
    own, drawn = pair.simulators
    frame, *_ = drawn.step(pair.act())
    assert frame.shape == (84, 96, 3) and drawn.observation_space.contains(frame)
    own.render_mode = drawn.render_mode = "rgb_array"
    own.reset(seed=3)
    drawn.reset(seed=3)
    np.testing.assert_array_equal(drawn.render(), own.render())


@pytest.mark.parametrize(
    ("phase", "front", "back"),
    [(0.3, 0, 0), (-1.57, 0, 0.93), (3.0, -1, -0.49), (-0.6, 0.825, 1), (-3.1, -1, -0.32)],
)
def test_the_white_part_of_a_wheel_turns_with_it(phase: float, front: float, back: float) -> None:
    """By the sines and cosines of where it begins and, 1.2 radians on, ends; below the wheel it
    has no area."""
    ahead = tread(phase)[:, 1] / WHEEL[0, 1]
    np.testing.assert_allclose(ahead, [front] * 2 + [back] * 6, atol=0.01)
