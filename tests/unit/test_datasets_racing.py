"""Drives on tracks of CarRacing: what a policy sees, when a drive ends, and what it is worth."""

from dataclasses import replace

import numpy as np
import pytest

from datasets.car_racing import Drive as Recorded
from datasets.car_racing import record_episodes
from datasets.racing import LAP, AtRandom, Car, Drive, Rules, StraightOn, drive, pursue

SEEN = Rules(size=32, steps=30)
AHEAD = np.array([0.1, 0.3, 0.0], np.float32)


class Keeping:
    """A policy that steers each car by its number, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def begin(self, cars: int) -> None:
        self.cars = cars

    def act(self, frames: np.ndarray, cars: np.ndarray) -> np.ndarray:
        assert frames.shape == (len(cars), 3, 32, 32)
        self.asked.append(cars.tolist())
        steering = frames.mean(axis=(1, 2, 3)) / 255 - 0.4
        return np.stack([steering, 0.3 + 0 * steering, 0 * steering], axis=1).astype(np.float32)


def test_a_car_sees_what_was_recorded() -> None:
    drives = record_episodes(Recorded("pursuit", 3, 12, 32, "arrays"))
    car = Car(SEEN, 3)
    for frame, action in zip(drives.frames, drives.actions, strict=True):
        np.testing.assert_array_equal(car.frame, frame)
        car.drive(action)
    assert car.total == pytest.approx(drives.rewards.sum(), abs=1e-3)


@pytest.mark.parametrize("drawing", ["arrays", "gymnasium"])
def test_an_action_that_is_kept_up_is_the_same_action_again(drawing: str) -> None:
    once, thrice = (Car(replace(SEEN, repeat=n, drawing=drawing), 1) for n in (1, 3))
    for _ in range(4):
        thrice.drive(AHEAD)
        for _ in range(3):
            once.drive(AHEAD)
        np.testing.assert_array_equal(once.frame, thrice.frame)
        assert once.result() == thrice.result()


def test_a_drive_is_cut_off_in_the_middle_of_an_action_that_is_kept_up() -> None:
    car = Car(Rules(size=32, steps=5, repeat=4), 1)
    car.drive(AHEAD)
    assert not car.over
    car.drive(AHEAD)
    assert car.over
    assert car.result().steps == 5


def test_what_lies_below_the_field_is_not_seen() -> None:
    """Gymnasium writes the score there."""
    car = Car(replace(SEEN, drawing="gymnasium"), 1)
    picture = car.simulator.state.copy()
    assert picture.shape == (96, 96, 3)
    other = picture.copy()
    other[84:] = 77
    np.testing.assert_array_equal(car._seen(picture), car._seen(other))
    other[83] = 255 - other[83]
    assert (car._seen(picture) != car._seen(other)).any()


def test_who_draws_does_not_change_a_drive() -> None:
    found = [
        drive(StraightOn(), [4], Rules(size=32, steps=40, drawing=drawing))
        for drawing in ("arrays", "gymnasium")
    ]
    assert found[0] == found[1] == drive(StraightOn(), [4], Rules(size=0, steps=40))
    assert found[0][0].tiles > 0


def visited(car: Car, count: int) -> None:
    """Makes some tiles of a track, the first one among them, those that the car has reached."""
    for tile in car.simulator.road[:count]:
        tile.road_visited = True
    car.simulator.tile_visited_count = count


def test_a_lap_ends_on_the_first_tile_even_if_some_tiles_were_missed() -> None:
    car = Car(SEEN, 2)
    tiles = len(car.simulator.track)
    visited(car, int(LAP * tiles) - 1)
    car.drive(0 * AHEAD)
    assert not car.over
    visited(car, int(LAP * tiles) + 2)
    assert car.reached < 1
    car.drive(0 * AHEAD)
    assert car.over
    assert not car.simulator.new_lap  # Gymnasium would drive on


def test_a_lap_does_not_end_elsewhere() -> None:
    car = Car(SEEN, 2)
    visited(car, int(LAP * len(car.simulator.track)) + 2)
    for wheel in car.simulator.car.wheels:
        wheel.tiles = {tile for tile in wheel.tiles if tile.idx != 0}
    assert not car._is_to_end()


def test_a_drive_ends_where_the_field_does() -> None:
    car = Car(Rules(size=0), 0)
    hull = car.simulator.car.hull
    hull.position = (hull.position.x, 1e4)
    before = car.total
    car.drive(0 * AHEAD)
    assert car.over
    assert car.total - before == -100


def test_a_drive_that_gets_nowhere_is_cut_off() -> None:
    standing = Car(Rules(size=0, patience=10), 0)
    standing.drive(0 * AHEAD)  # the wheels come upon the tiles where they stand
    first = standing.total
    while not standing.over:
        standing.drive(0 * AHEAD)
    assert standing.steps in (10, 11)
    assert standing.total - first == pytest.approx(-0.1 * (standing.steps - 1))


def test_cars_at_once_drive_as_each_alone() -> None:
    policy, seeds = Keeping(), [5, 6, 7]
    together = drive(policy, seeds, replace(SEEN, patience=15))
    assert [drive(Keeping(), [seed], replace(SEEN, patience=15))[0] for seed in seeds] == together
    assert policy.cars == 3
    assert policy.asked[0] == [0, 1, 2]
    assert len({each.total for each in together}) == 3


def test_cars_whose_drive_is_over_are_left_out() -> None:
    policy = Keeping()
    ends = drive(policy, [5, 6, 7], replace(SEEN, steps=300, patience=20))
    lengths = [each.steps for each in ends]
    assert len(set(lengths)) > 1
    for car, length in enumerate(lengths):
        assert sum(car in asked for asked in policy.asked) == length


def test_policies_that_learn_nothing_get_nowhere_and_who_sees_the_track_gets_round() -> None:
    rules = Rules(size=0)
    (wild,), (straight,) = (drive(policy, [8], rules) for policy in (AtRandom(), StraightOn()))
    assert -100 < wild.total < 50
    assert straight.total < 100
    (seeing,) = pursue([8], rules)
    assert seeing.total > 500
    assert seeing == Drive(seeing.total, seeing.steps, seeing.tiles)


def test_random_actions_are_drawn_from_the_whole_range() -> None:
    policy = AtRandom(1)
    policy.begin(1000)
    actions = policy.act(np.empty(0), np.arange(1000))
    np.testing.assert_allclose(actions.min(axis=0), [-1, 0, 0], atol=0.02)
    np.testing.assert_allclose(actions.max(axis=0), [1, 1, 1], atol=0.02)
    policy.begin(1000)
    np.testing.assert_array_equal(policy.act(np.empty(0), np.arange(1000)), actions)


def test_a_drive_that_stalls_counts_as_if_it_went_on_without_a_further_tile() -> None:
    """Standing still: the tiles below the car at the start, and then none."""

    class Standing(StraightOn):
        def act(self, frames: np.ndarray, cars: np.ndarray) -> np.ndarray:
            return np.zeros_like(super().act(frames, cars))

    (whole,) = drive(Standing(), [5], Rules(0))
    (cut,) = drive(Standing(), [5], Rules(0, patience=60))
    assert (whole.steps, whole.stalled) == (1000, False)
    assert cut.stalled
    assert cut.steps < 100
    assert whole.total_to_the_end == whole.total
    assert cut.total_to_the_end == pytest.approx(whole.total)
    assert cut.total > whole.total
