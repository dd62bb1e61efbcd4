"""Which drives a study learns from: recorded here or read from a file, split by episode."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from datasets import car_racing
from datasets.cache import Cache
from datasets.car_racing import DriverName
from datasets.errors import InputError
from datasets.homework_recordings import read_pickle
from datasets.parallel import ParallelMap
from datasets.recordings import Recordings, read_recordings, write_recordings
from datasets.splits import Split, split_episodes

SEED = 0
"""The drives recorded here are the same for every study, whatever the study's own seed."""

SIZES = (32, 64)

SUFFIXES = (".arrow", ".pkl")
"""Of files of recordings."""

SHORTEST = 12
"""Frames of an episode at least."""


@dataclass(frozen=True)
class DrivingOptions:
    """Which drives."""

    recordings: str | None = None
    """One's own drives in place of recorded ones: FILE.arrow (schema: datasets/recordings.py), or
    the homework's FILE.pkl."""

    driver: DriverName = "pursuit"
    """Who drives where drives are recorded: pursuit follows the track with a trembling hand,
    random does not look at it, mix: every other episode."""

    episodes: int = 64
    """Episodes to record."""

    steps: int = 160
    """Frames of an episode to record; at least as many as the longest window that is searched."""

    size: int = 32
    """Pixels on a side of a recorded frame: 32 or 64."""

    split: str = "random"
    """random: 80, 10 and 10 % of the episodes; random:A,B,C: these fractions or counts."""

    def __post_init__(self) -> None:
        if self.driver not in get_args(DriverName):
            known = ", ".join(get_args(DriverName))
            raise InputError(f"unknown --driver {self.driver}: expected one of {known}")
        if self.size not in SIZES:
            raise InputError(f"--size is {self.size}: expected 32 or 64 pixels")
        if self.steps < SHORTEST:
            raise InputError(
                f"--steps is {self.steps}: expected at least {SHORTEST} frames an episode"
            )
        if self.recordings is None:
            split_episodes(self.episodes, self.split, seed=0)
        elif Path(self.recordings).suffix not in SUFFIXES:
            raise InputError(
                f"unknown --recordings {self.recordings}: expected the path of an .arrow or .pkl "
                "file"
            )


@dataclass(frozen=True)
class Drives:
    """Recordings ready to be learned from; what the trials of a study share.

    Attributes:
        recordings: All episodes.
        split: Of the episodes, by number.
        digest: Of the recordings.
    """

    recordings: Recordings
    split: Split
    digest: str


def open_drives(
    options: DrivingOptions,
    seed: int,
    cache: Path | Cache,
    parallel: ParallelMap = map,
) -> Drives:
    """Records or finds the drives that the options name.

    Args:
        options: Which.
        seed: Seeds the split.
        cache: Keeps recordings.
        parallel: Records the episodes.

    Raises:
        InputError: If they cannot be used; the message says why.
    """
    if options.recordings is None:
        recordings = read_recordings(_recorded(options, Cache.of(cache), parallel))
    else:
        recordings = read_drives(Path(options.recordings))
    if recordings.size not in SIZES:
        raise InputError(
            f"{options.recordings}: expected frames of 32 or 64 pixels, got {recordings.size}"
        )
    if recordings.lengths.min() < SHORTEST:
        raise InputError(
            f"an episode of {recordings.lengths.min()} frames: expected at least {SHORTEST}, as a "
            "model is judged by what it predicts after the first 10"
        )
    split = split_episodes(len(recordings), options.split, seed)
    for part, episodes in vars(split).items():
        if not any(_moves(recordings, episode) for episode in episodes):
            raise InputError(
                f"the frames of the {part} episodes never change: there is nothing to predict"
            )
    return Drives(recordings, split, recordings.digest)


def read_drives(path: Path) -> Recordings:
    """Recordings from a file: ``.arrow``, or the homework's ``.pkl``.

    Raises:
        InputError: If it is not there, or no such file.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"unknown --recordings {path}: expected the path of an .arrow or .pkl file"
        )
    if not path.is_file():
        raise InputError(f"no file {path}: expected recordings in Arrow or a pickle")
    return read_pickle(path) if path.suffix == ".pkl" else read_recordings(path)


def _moves(recordings: Recordings, episode: int) -> bool:
    begin, end = recordings.offsets[episode : episode + 2]
    return bool((recordings.frames[begin] != recordings.frames[begin + 1 : end]).any())


def _recorded(options: DrivingOptions, cache: Cache, parallel: ParallelMap) -> Path:
    def make(path: Path) -> None:
        drives = car_racing.record(
            options.driver, options.episodes, options.steps, options.size, SEED, parallel
        )
        write_recordings(drives, path)

    shape = f"{options.episodes}x{options.steps}x{options.size}"
    name = f"car-racing-{options.driver}-{shape}-v{car_racing.VERSION}.arrow"
    return cache.get(name, make)
