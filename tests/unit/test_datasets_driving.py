"""Which drives a study learns from, and how they are split."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving_stripes import stripes

from datasets import car_racing, driving
from datasets.car_racing import Drawing
from datasets.driving import DrivingOptions, open_drives
from datasets.errors import InputError
from datasets.recordings import write_recordings
from datasets.splits import split_episodes


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stripes in place of the simulator's frames; what was asked for."""
    asked: list[tuple[Any, ...]] = []

    def fake(*options: Any) -> Any:
        *wanted, _ = options
        asked.append(tuple(wanted))
        _, episodes, steps, *_ = wanted
        return stripes(episodes, steps)

    monkeypatch.setattr(car_racing, "record", fake)
    return asked


def test_drives_are_recorded_once_and_then_read(recorded: list[Any], tmp_path: Path) -> None:
    options = DrivingOptions(episodes=20, steps=12)
    first, again = (open_drives(options, 0, tmp_path) for _ in range(2))
    assert recorded == [("pursuit", 20, 12, 32, "arrays", driving.SEED)]
    assert first.digest == again.digest == stripes(20, 12).digest


@pytest.mark.parametrize(
    "changed",
    [
        *({"driver": "random"}, {"drawing": "gymnasium"}),
        *({"episodes": 21}, {"steps": 13}, {"size": 64}),
    ],
)
def test_every_option_of_the_recording_makes_another_cache(
    changed: dict[str, Any], recorded: list[Any], tmp_path: Path
) -> None:
    open_drives(DrivingOptions(episodes=20, steps=12), 0, tmp_path)
    open_drives(DrivingOptions(**{"episodes": 20, "steps": 12, **changed}), 0, tmp_path)
    assert len(recorded) == 2


@pytest.mark.parametrize(
    ("drawing", "name"),
    [
        ("arrays", "car-racing-arrays-pursuit-20x12x32-v1.arrow"),
        ("gymnasium", "car-racing-pursuit-20x12x32-v1.arrow"),
    ],
)
def test_drives_that_gymnasium_drew_before_are_read_for_its_drawing_alone(
    drawing: Drawing, name: str, recorded: list[Any], tmp_path: Path
) -> None:
    """Those have the name without a drawing."""
    write_recordings(stripes(20, 12, seed=9), tmp_path / "car-racing-pursuit-20x12x32-v1.arrow")
    options = DrivingOptions(episodes=20, steps=12, drawing=drawing)
    drives = open_drives(options, 0, tmp_path)
    is_old = drives.digest == stripes(20, 12, seed=9).digest
    assert is_old == (drawing == "gymnasium") == (not recorded)
    assert (tmp_path / name).is_file()


def test_another_version_of_the_recording_makes_another_cache(
    recorded: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = DrivingOptions(episodes=20, steps=12)
    open_drives(options, 0, tmp_path)
    monkeypatch.setattr(car_racing, "VERSION", car_racing.VERSION + 1)
    open_drives(options, 0, tmp_path)
    assert len(recorded) == 2


def test_one_s_own_drives_are_read_from_an_arrow_file(tmp_path: Path) -> None:
    write_recordings(stripes(20, 12), tmp_path / "own.arrow")
    options = DrivingOptions(recordings=str(tmp_path / "own.arrow"))
    assert open_drives(options, 0, tmp_path / "cache").digest == stripes(20, 12).digest


@pytest.mark.parametrize("method", ["random", "random:0.5,0.25,0.25", "random:10,4,3"])
def test_no_episode_is_in_two_parts(method: str) -> None:
    for seed in range(5):
        split = split_episodes(64, method, seed)
        parts = [split.train, split.validation, split.test]
        together = np.concatenate(parts)
        assert len(np.unique(together)) == len(together)
        assert all((np.diff(part) > 0).all() for part in parts)


def test_no_frame_of_another_part_is_in_a_window(recorded: list[Any], tmp_path: Path) -> None:
    drives = open_drives(DrivingOptions(episodes=20, steps=12), 0, tmp_path)
    frames = {}
    for name, episodes in vars(drives.split).items():
        starts = drives.recordings.window_starts(episodes, 5)
        frames[name] = set((starts[:, None] + np.arange(5)).ravel().tolist())
        assert len(frames[name]) == 12 * len(episodes)
    assert not frames["train"] & frames["validation"]
    assert not frames["train"] & frames["test"]
    assert not frames["validation"] & frames["test"]


def test_the_seed_decides_the_split_and_sizes_are_kept() -> None:
    first, again, other = (split_episodes(64, "random", seed) for seed in (0, 0, 1))
    assert [len(part) for part in vars(first).values()] == [51, 7, 6]
    for name, part in vars(first).items():
        np.testing.assert_array_equal(getattr(again, name), part)
    assert first.test.tolist() != other.test.tolist()


def test_the_default_drives_are_split_by_count_and_all_others_by_share(
    recorded: list[Any], tmp_path: Path
) -> None:
    write_recordings(stripes(304, 12), tmp_path / "own.arrow")
    sizes = {}
    for name, options in {
        "default": DrivingOptions(steps=12),
        "fewer": DrivingOptions(steps=12, episodes=120),
        "asked": DrivingOptions(steps=12, split="random"),
        "file": DrivingOptions(recordings=str(tmp_path / "own.arrow")),
    }.items():
        split = open_drives(options, 0, tmp_path).split
        sizes[name] = [len(part) for part in vars(split).values()]
    assert sizes.pop("default") == [256, 24, 24]
    assert sizes == {"fewer": [96, 12, 12], "asked": [243, 31, 30], "file": [243, 31, 30]}


def test_counts_that_a_file_does_not_have_are_refused(tmp_path: Path) -> None:
    write_recordings(stripes(20, 12), tmp_path / "own.arrow")
    options = DrivingOptions(recordings=str(tmp_path / "own.arrow"), split="random:64,24,24")
    with pytest.raises(InputError, match="asks for 64, 24 and 24 of 20 episodes: expected at"):
        open_drives(options, 0, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"driver": "sunday"}, "unknown --driver sunday: expected one of pursuit, random, mix"),
        ({"drawing": "crayon"}, "unknown --drawing crayon: expected one of arrays, gymnasium"),
        ({"split": ""}, "unknown --split : expected random or random:A,B,C"),
        ({"size": 48}, "--size is 48: expected 32 or 64 pixels"),
        ({"steps": 11}, "--steps is 11: expected at least 12 frames"),
        ({"episodes": 3}, r"--split random asks for 2, 1 and 0 of 3 episodes"),
        ({"split": "homework"}, "unknown --split homework: expected random or random:A,B,C"),
        ({"split": "random:300,8,8"}, "asks for 300, 8 and 8 of 304 episodes"),
        ({"recordings": "drives.mp4"}, "unknown --recordings drives.mp4: expected the path of an"),
    ],
)
def test_options_that_cannot_be_used_are_refused_at_once(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        DrivingOptions(**options)


def test_a_file_of_too_few_or_too_short_episodes_is_refused(tmp_path: Path) -> None:
    write_recordings(stripes(4, 30), tmp_path / "few.arrow")
    with pytest.raises(InputError, match="of 4 episodes: expected at least 2 in each part"):
        open_drives(DrivingOptions(recordings=str(tmp_path / "few.arrow")), 0, tmp_path)
    write_recordings(stripes(20, 11), tmp_path / "short.arrow")
    with pytest.raises(InputError, match="an episode of 11 frames: expected at least 12"):
        open_drives(DrivingOptions(recordings=str(tmp_path / "short.arrow")), 0, tmp_path)


def test_drives_in_which_nothing_moves_are_refused(tmp_path: Path) -> None:
    """Freezing would be without error, and nothing could be said as a share of it."""
    drives = stripes(20, 12)
    split = split_episodes(20, "random", 0)
    for episode in split.validation:
        drives.frames[12 * episode : 12 * (episode + 1)] = drives.frames[12 * episode]
    write_recordings(drives, tmp_path / "still.arrow")
    with pytest.raises(InputError, match="frames of the validation episodes never change"):
        open_drives(DrivingOptions(recordings=str(tmp_path / "still.arrow")), 0, tmp_path)
