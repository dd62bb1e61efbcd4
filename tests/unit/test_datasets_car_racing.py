"""Drives recorded from the simulator."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

from datasets import car_racing
from datasets.car_racing import (
    CorrelatedNoise,
    Drive,
    area_means,
    downsampled,
    record,
    record_episodes,
)
from datasets.recordings import Recordings

STEPS = 30


@pytest.fixture(scope="module")
def drives() -> dict[str, Recordings]:
    """One episode of each driver, on the same track."""
    return {name: record_episodes(Drive(name, 3, STEPS, 32)) for name in car_racing.DRIVERS}


def assert_same_bytes(one: Recordings, other: Recordings) -> None:
    for name, array in vars(one).items():
        assert array.tobytes() == getattr(other, name).tobytes(), name


@pytest.mark.parametrize("driver", car_racing.DRIVERS)
def test_the_same_seed_gives_the_same_bytes(driver: str, drives: dict[str, Recordings]) -> None:
    assert_same_bytes(record_episodes(Drive(driver, 3, STEPS, 32)), drives[driver])


def test_another_seed_and_another_driver_give_other_drives(
    drives: dict[str, Recordings],
) -> None:
    other = record_episodes(Drive("pursuit", 4, STEPS, 32))
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


def simulator_frames(seed: int) -> Iterator[np.ndarray]:
    """The simulator's frames of a car that stands."""
    env = gymnasium.make("CarRacing-v3")
    frame, _ = env.reset(seed=seed)
    while True:
        yield frame
        frame = env.step(np.zeros(3, np.float32))[0]


def test_the_opening_zoom_is_skipped(drives: dict[str, Recordings]) -> None:
    """The first frame recorded is what a car that stood still sees after the simulator's 50 frames
    of zoom; while it lasts the view is another one. The dashboard shows the score, which waiting
    costs."""
    view = slice(0, 28)
    first = drives["pursuit"].frames[0][:, view].astype(int)
    shrink = area_means(96, 32)
    for number, frame in enumerate(simulator_frames(3)):
        seen = downsampled(frame, shrink)[:, view].astype(int)
        if number in (5, 25):
            assert np.abs(seen - first).mean() > 5
        if number == 60:
            assert np.abs(seen - first).mean() < 0.5
            return


def test_an_action_leads_from_its_frame_to_the_next(drives: dict[str, Recordings]) -> None:
    """Replayed in the simulator, the actions give the frames."""
    drive = drives["pursuit"]
    env = gymnasium.make("CarRacing-v3", max_episode_steps=-1)
    env.reset(seed=3)
    simulator: Any = env.unwrapped
    simulator.t = car_racing.ZOOM_SECONDS
    simulator.step(None)
    shrink = area_means(96, 32)
    for step in range(STEPS - 1):
        frame, reward, *_ = env.step(drive.actions[step])
        np.testing.assert_array_equal(downsampled(frame, shrink), drive.frames[step + 1])
        assert reward == pytest.approx(drive.rewards[step], abs=1e-5)


@pytest.mark.parametrize("size", [32, 64])
def test_frames_shrink_by_the_mean_over_each_pixel_s_area(size: int) -> None:
    generator = np.random.default_rng(0)
    frame = generator.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    # Every pixel cut into pieces that both grids share.
    fine = np.kron(frame.astype(float), np.ones((2, 2, 1)))
    side = 192 // size
    expected = fine.reshape(size, side, size, side, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    found = downsampled(frame, area_means(96, size))
    assert found.shape == (3, size, size) and found.dtype == np.uint8
    np.testing.assert_allclose(found, expected, atol=0.5 + 1e-9)
    np.testing.assert_allclose(area_means(96, size).sum(axis=1), 1)


def test_the_pursuing_driver_gets_around_and_the_wandering_one_does_not() -> None:
    """Each tile of the track is worth about 3 points, and each frame costs 0.1."""
    pursuit, wander = (
        record_episodes(Drive(name, 5, 120, 32)).rewards.sum() for name in ("pursuit", "random")
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
    drives: dict[str, Recordings],
) -> None:
    mixed = record("mix", 4, STEPS, 32, 2, map)
    assert len(mixed) == 4 and mixed.lengths.tolist() == [STEPS] * 4
    second = slice(STEPS, 2 * STEPS)
    assert mixed.frames[second].tobytes() == drives["random"].frames.tobytes()
    assert len({mixed.frames[e * STEPS].tobytes() for e in range(4)}) == 4
