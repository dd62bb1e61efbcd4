"""Drives recorded from the simulator."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from datasets import car_racing
from datasets.car_racing import (
    SIMULATORS,
    CorrelatedNoise,
    Drawing,
    Drive,
    area_means,
    downsampled,
    record,
    record_episodes,
)
from datasets.recordings import Recordings

STEPS = 30


@pytest.fixture(scope="module", params=SIMULATORS)
def drawing(request: pytest.FixtureRequest) -> Drawing:
    return request.param


@pytest.fixture(scope="module")
def drives(drawing: Drawing) -> dict[str, Recordings]:
    """One episode of each driver, on the same track."""
    return {
        name: record_episodes(Drive(name, 3, STEPS, 32, drawing)) for name in car_racing.DRIVERS
    }


def assert_same_bytes(one: Recordings, other: Recordings) -> None:
    for name, array in vars(one).items():
        assert array.tobytes() == getattr(other, name).tobytes(), name


@pytest.mark.parametrize("driver", car_racing.DRIVERS)
def test_the_same_seed_gives_the_same_bytes(
    driver: str, drawing: Drawing, drives: dict[str, Recordings]
) -> None:
    assert_same_bytes(record_episodes(Drive(driver, 3, STEPS, 32, drawing)), drives[driver])


def test_another_seed_and_another_driver_give_other_drives(
    drawing: Drawing, drives: dict[str, Recordings]
) -> None:
    other = record_episodes(Drive("pursuit", 4, STEPS, 32, drawing))
    digests = {each.digest for each in (*drives.values(), other)}
    assert len(digests) == 3


@pytest.mark.parametrize("driver", car_racing.DRIVERS)
def test_a_drive_has_the_shapes_and_ranges_it_says(
    driver: str, drives: dict[str, Recordings]
) -> None:
    drive = drives[driver]
    assert drive.frames.shape == (STEPS, 3, 32, 32) and drive.frames.dtype == np.uint8
    assert drive.actions.shape == (STEPS, 3) and drive.actions.dtype == np.float32
    assert drive.offsets.tolist() == [0, STEPS]
    assert (np.abs(drive.actions) <= 1).all() and (drive.actions[:, 1:] >= 0).all()
    assert not drive.ends.any()
    assert drive.actions[:, 0].std() > 0.02 and drive.actions[:, 1].max() > 0.1


def shrunk(frame: np.ndarray) -> np.ndarray:
    """A frame of the simulator at 32 pixels on a side."""
    height, width = frame.shape[:2]
    return downsampled(frame, area_means(height, 32), area_means(width, 32))


def simulator_frames(drawing: Drawing, seed: int) -> Iterator[np.ndarray]:
    """The simulator's frames of a car that stands."""
    env = SIMULATORS[drawing]()
    frame, _ = env.reset(seed=seed)
    while True:
        yield shrunk(frame)
        frame = env.step(np.zeros(3, np.float32))[0]


def test_the_opening_zoom_is_skipped(drawing: Drawing, drives: dict[str, Recordings]) -> None:
    """The first frame recorded is what a car that stood still sees after the simulator's 50 frames
    of zoom; while it lasts the view is another one. Gymnasium's dashboard shows the score, which
    waiting costs."""
    view = slice(0, 28)
    first = drives["pursuit"].frames[0][:, view].astype(int)
    for number, frame in enumerate(simulator_frames(drawing, 3)):
        seen = frame[:, view].astype(int)
        if number in (5, 25):
            assert np.abs(seen - first).mean() > 5
        if number == 60:
            assert np.abs(seen - first).mean() < 0.5
            return


def test_an_action_leads_from_its_frame_to_the_next(
    drawing: Drawing, drives: dict[str, Recordings]
) -> None:
    """Replayed in the simulator, the actions give the frames."""
    drive = drives["pursuit"]
    env = SIMULATORS[drawing]()
    env.reset(seed=3)
    simulator: Any = env.unwrapped
    simulator.t = car_racing.ZOOM_SECONDS
    simulator.step(None)
    for step in range(STEPS - 1):
        frame, reward, *_ = env.step(drive.actions[step])
        np.testing.assert_array_equal(shrunk(frame), drive.frames[step + 1])
        assert reward == pytest.approx(drive.rewards[step], abs=1e-5)


@pytest.mark.parametrize("height", [84, 96])
@pytest.mark.parametrize("size", [32, 64])
def test_frames_shrink_by_the_mean_over_each_pixel_s_area(height: int, size: int) -> None:
    generator = np.random.default_rng(0)
    frame = generator.integers(0, 256, (height, 96, 3), dtype=np.uint8)
    expected = frame.astype(float)
    for axis, pixels in enumerate((height, 96)):
        # Every pixel cut into as many pieces as make whole areas.
        fine = np.repeat(expected, size, axis=axis)
        areas = (*fine.shape[:axis], size, pixels, *fine.shape[axis + 1 :])
        expected = fine.reshape(areas).mean(axis=axis + 1)
    found = downsampled(frame, area_means(height, size), area_means(96, size))
    assert found.shape == (3, size, size) and found.dtype == np.uint8
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=0.5 + 1e-9)
    np.testing.assert_allclose(area_means(height, size).sum(axis=1), 1)


def test_the_two_drawings_are_of_the_same_drive() -> None:
    """The dashboard takes the lowest eighth of Gymnasium's frame, which the other stretches over
    the road."""
    drawn, own = (record_episodes(Drive("random", 5, STEPS, 32, each)) for each in SIMULATORS)
    for name in ("actions", "rewards", "ends", "offsets"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(own, name))
    assert (own.frames[:, :, 30:] < 50).mean() > 0.8
    assert (drawn.frames[:, :, 30:] > 50).mean() > 0.8


def test_the_pursuing_driver_gets_around_and_the_wandering_one_does_not() -> None:
    """Each tile of the track is worth about 3 points, and each frame costs 0.1."""
    pursuit, wander = (
        record_episodes(Drive(name, 5, 120, 32, "arrays")).rewards.sum()
        for name in ("pursuit", "random")
    )
    assert pursuit > 40
    assert wander < pursuit / 2


def test_the_noise_remembers_and_has_a_standard_deviation_of_1() -> None:
    """20,000 steps of memory 10 are about 1,000 independent ones: 5 % is 3 standard deviations of
    the deviation, and of the correlation after 10 steps."""
    noise = CorrelatedNoise(np.random.default_rng(0), 10, 2)
    values = np.array([noise.step().copy() for _ in range(20_000)])
    np.testing.assert_allclose(values.std(axis=0), 1, atol=0.07)
    correlation = (values[10:] * values[:-10]).mean(axis=0)
    np.testing.assert_allclose(correlation, np.exp(-1), atol=0.1)
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.1


def test_a_mix_has_both_drivers_and_each_episode_a_track_of_its_own(
    drawing: Drawing, drives: dict[str, Recordings]
) -> None:
    mixed = record("mix", 4, STEPS, 32, drawing, 2, map)
    assert len(mixed) == 4 and mixed.lengths.tolist() == [STEPS] * 4
    second = slice(STEPS, 2 * STEPS)
    assert mixed.frames[second].tobytes() == drives["random"].frames.tobytes()
    assert len({mixed.frames[e * STEPS].tobytes() for e in range(4)}) == 4
