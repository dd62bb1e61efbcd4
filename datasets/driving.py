"""The data of a study of drives: recorded on the spot or read from a file, split by episode."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from datasets import car_racing
from datasets.cache import Cache
from datasets.car_racing import Drawing, DriverName
from datasets.errors import InputError
from datasets.homework_recordings import read_pickle
from datasets.parallel import ParallelMap
from datasets.recordings import Recordings, read_recordings, write_recordings
from datasets.splits import Split, split_episodes

SEED = 0
"""Seed of the recorded drives, which are the same for every study, whatever the study's own
seed."""

SIZES = (32, 64)
"""Supported frame sizes, in pixels on a side."""

SUFFIXES = (".arrow", ".pkl")
"""Suffixes of files of recordings."""

SHORTEST = 12
"""Smallest number of frames of an episode."""

EPISODES = 304
"""Number of episodes that are recorded by default."""

PARTS = "random:256,24,24"
"""Split of the default episodes."""


@dataclass(frozen=True)
class DrivingOptions:
    """Options of a study of drives: which drives it learns from, and how they are split."""

    recordings: str | None = None
    """A file of your own drives, used instead of recording some: FILE.arrow (schema:
    datasets/recordings.py), or the homework's FILE.pkl."""

    driver: DriverName = "pursuit"
    """Driver of the recorded episodes: pursuit follows the track with a trembling hand, random
    ignores the track, mix alternates between the two."""

    drawing: Drawing = "arrays"
    """Who draws the recorded frames: arrays, fast and without the dashboard, or gymnasium, the
    simulator itself, with the dashboard and the score on it."""

    episodes: int = EPISODES
    """Number of episodes to record."""

    steps: int = 160
    """Frames per recorded episode, unless it ends earlier; for world models at least 10 more than
    a dream in training has free steps, and 1 more than a training window has."""

    size: int = 32
    """Side of a recorded frame in pixels: 32 or 64."""

    split: str | None = None
    """Train, validation and test split. random: 80, 10 and 10 % of the episodes; random:A,B,C:
    these fractions or counts (default: random:256,24,24 of the 304 episodes that are recorded by
    default; random of another number and of a file)."""

    def __post_init__(self) -> None:
        if self.driver not in get_args(DriverName):
            known = ", ".join(get_args(DriverName))
            raise InputError(f"unknown --driver {self.driver}: expected one of {known}")
        if self.drawing not in get_args(Drawing):
            known = ", ".join(get_args(Drawing))
            raise InputError(f"unknown --drawing {self.drawing}: expected one of {known}")
        if self.size not in SIZES:
            raise InputError(f"--size is {self.size}: expected 32 or 64 pixels")
        if self.steps < SHORTEST:
            raise InputError(
                f"--steps is {self.steps}: expected at least {SHORTEST} frames an episode"
            )
        if self.recordings is None:
            split_episodes(self.episodes, self.split_method, seed=0)
        elif Path(self.recordings).suffix not in SUFFIXES:
            raise InputError(
                f"unknown --recordings {self.recordings}: expected the path of an .arrow or .pkl "
                "file"
            )

    @property
    def split_method(self) -> str:
        """The split that was asked for, or its default; see `split_episodes`."""
        if self.split is not None:
            return self.split
        return PARTS if self.recordings is None and self.episodes == EPISODES else "random"


@dataclass(frozen=True)
class Drives:
    """Recordings with their split; the trials of a study share one instance.

    Attributes:
        recordings: All episodes.
        split: Episode numbers of the train, validation and test parts.
        digest: Fingerprint of the recordings, 16 hexadecimal digits.
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
    """Opens the drives that the options name: from a file, from the cache, or newly recorded.

    Args:
        options: The options.
        seed: Seed of the split.
        cache: Cache of recordings.
        parallel: Maps the recording over the episodes.

    Raises:
        InputError: If the drives cannot be used; the message says why.
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
    split = split_episodes(len(recordings), options.split_method, seed)
    for part, episodes in vars(split).items():
        if not any(_moves(recordings, episode) for episode in episodes):
            raise InputError(
                f"the frames of the {part} episodes never change: there is nothing to predict"
            )
    return Drives(recordings, split, recordings.digest)


def read_drives(path: Path) -> Recordings:
    """Reads recordings from a file: ``.arrow``, or the homework's ``.pkl``.

    Raises:
        InputError: If the file does not exist or is not a valid one of these.
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
    shape = options.driver, options.episodes, options.steps, options.size

    def make(path: Path) -> None:
        drives = car_racing.record(*shape, options.drawing, SEED, parallel)
        write_recordings(drives, path)

    driver, *numbers = shape
    drawn = "" if options.drawing == "gymnasium" else f"{options.drawing}-"
    name = f"car-racing-{drawn}{driver}-{'x'.join(map(str, numbers))}-v{car_racing.VERSION}.arrow"
    return cache.get(name, make)
