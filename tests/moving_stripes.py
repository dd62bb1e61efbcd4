"""Synthetic drives over a striped field, made in milliseconds without a simulator."""

import numpy as np

from datasets.driving import Drives
from datasets.recordings import Recordings
from datasets.splits import split_episodes

SIZE = 32


def stripes(episodes: int = 12, length: int = 40, seed: int = 0, size: int = SIZE) -> Recordings:
    """Makes recordings of moving stripes.

    The throttle moves the stripes down, steering moves them sideways, and the last row of the red
    plane shows the throttle.

    Args:
        episodes: Number of episodes.
        length: Frames of each episode.
        seed: Seed of actions and stripes.
        size: Pixels on a side of a frame.
    """
    generator = np.random.default_rng(seed)
    actions = generator.uniform(0, 1, (episodes, length, 3)).astype(np.float32)
    moved = actions[:, :, :2].cumsum(axis=1) - actions[:, :1, :2]
    y, x = np.mgrid[:size, :size]
    phase = generator.uniform(0, 6, (episodes, 1, 3, 1, 1))
    down, side = moved[:, :, 1, None, None, None], moved[:, :, 0, None, None, None]
    waves = np.sin((y - down) / 3 + phase) * np.cos((x - side) / 4)
    frames = np.rint((waves + 1) * 127).astype(np.uint8)
    frames[:, :, 0, -1] = (255 * actions[:, :, 1, None]).astype(np.uint8)
    return Recordings(
        frames=frames.reshape(-1, 3, size, size),
        actions=actions.reshape(-1, 3),
        rewards=np.zeros(episodes * length, np.float32),
        ends=np.zeros(episodes * length, bool),
        offsets=np.arange(episodes + 1) * length,
    )


def striped_drives(episodes: int = 12, length: int = 40, size: int = SIZE) -> Drives:
    """Makes recordings of moving stripes with a split: 0.6 of the episodes to train, 0.2 to
    validate and 0.2 to test."""
    recordings = stripes(episodes, length, size=size)
    return Drives(recordings, split_episodes(episodes, "random:0.6,0.2,0.2", 0), recordings.digest)
