"""Errors of two predictions that know nothing of driving, at every horizon of a dream.

*Freeze* keeps the last true frame, *climatology* is the mean frame. Their errors are what a
model's errors are divided by.
"""

import numpy as np
import torch
from torch import Tensor

from datasets.recordings import Recordings

FRAMES = 16_384
"""Approximate number of frames that the errors are averaged over, from evenly spread episodes."""


def mean_frame(recordings: Recordings, episodes: np.ndarray) -> Tensor:
    """Returns the mean frame of some episodes, (3, S, S) float32 from 0 to 1."""
    sums = np.zeros(recordings.frames.shape[1:])
    for episode in episodes:
        begin, end = recordings.offsets[episode : episode + 2]
        sums += recordings.frames[begin:end].sum(axis=0)
    return torch.from_numpy(sums / recordings.lengths[episodes].sum() / 255).float()


def baseline_errors(
    recordings: Recordings, episodes: np.ndarray, mean: Tensor, horizon: int
) -> tuple[Tensor, Tensor]:
    """Computes the mean squared errors of freeze and climatology, averaged all over the episodes.

    Args:
        recordings: Recorded episodes.
        episodes: Numbers of the episodes that errors are averaged over; of many, every n-th.
        mean: Their mean frame, (3, S, S).
        horizon: The last horizon, less than the length of the longest of the episodes.

    Returns:
        The errors of freeze 1, 2, ... frames after the last true one, (horizon,) float32, and that
        of climatology, ().
    """
    frames = int(recordings.lengths[episodes].sum())
    some = {
        *episodes[:: max(1, frames // FRAMES)],
        episodes[recordings.lengths[episodes].argmax()],
    }
    sums, counts = torch.zeros(2, horizon + 1, dtype=torch.float64)
    for episode in sorted(some):
        begin, end = recordings.offsets[episode : episode + 2]
        pixels = torch.from_numpy(recordings.frames[begin:end].astype(np.float32) / 255)
        off = (pixels - mean).flatten(start_dim=1)
        # In float32 the difference of two large products would drown that of two alike frames.
        products = off.double() @ off.double().T / off.shape[1]
        squares = products.diagonal()
        last = min(horizon, len(off) - 1)
        counts[: last + 1] += len(off) - torch.arange(last + 1)
        sums[0] += squares.sum()
        for later in range(1, last + 1):
            shared = products.diagonal(later)
            sums[later] += (squares[later:] + squares[:-later] - 2 * shared).sum()
    errors = (sums / counts).float()
    return errors[1:], errors[0]
