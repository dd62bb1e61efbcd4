"""Small recorded drives for tests: a block that moves over the frame, by the actions."""

import numpy as np

from datasets.driving import Drives
from datasets.recordings import Recordings
from datasets.splits import Split

SIZE = 32


def blocks(episodes: int = 6, steps: int = 40, seed: int = 0) -> Drives:
    """Returns drives in which a bright block moves by the steering, and whose reward is where it
    stands, from -1 to 1; the last episodes are those of validation and test."""
    generator = np.random.default_rng(seed)
    frames = np.full((episodes * steps, 3, SIZE, SIZE), 40, np.uint8)
    actions = np.zeros((episodes * steps, 3), np.float32)
    rewards = np.zeros(episodes * steps, np.float32)
    for episode in range(episodes):
        place = float(generator.integers(4, SIZE - 12))
        for step in range(steps):
            row = episode * steps + step
            left = round(place)
            frames[row, :, 10:18, left : left + 8] = 220
            actions[row, 0] = generator.uniform(-1, 1)
            rewards[row] = left / 12 - 1
            place = float(np.clip(place + 3 * actions[row, 0], 0, SIZE - 8))
    ends = np.zeros(len(frames), bool)
    recordings = Recordings(frames, actions, rewards, ends, np.arange(episodes + 1) * steps)
    numbers = np.arange(episodes)
    split = Split(numbers[:-2], numbers[-2:-1], numbers[-1:])
    return Drives(recordings, split, recordings.digest)
