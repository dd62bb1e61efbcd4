"""Predictions that know nothing of driving, and their errors on training episodes, by which a
model's errors are divided."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from datasets.recordings import Recordings
from trainables.rollout import frame_mse

TOGETHER = 64
"""Number of windows in one batch; it does not change the errors."""


def mean_frame(recordings: Recordings, episodes: np.ndarray) -> Tensor:
    """Returns the mean frame of some episodes, (3, S, S) float32 from 0 to 1."""
    sums = np.zeros(recordings.frames.shape[1:])
    for episode in episodes:
        begin, end = recordings.offsets[episode : episode + 2]
        sums += recordings.frames[begin:end].sum(axis=0)
    return torch.from_numpy(sums / recordings.lengths[episodes].sum() / 255).float()


def persistence_error(recordings: Recordings, episodes: np.ndarray) -> float:
    """Returns the mean squared error of keeping a frame for one step, over all steps of some
    episodes."""
    total = 0.0
    for episode in episodes:
        begin, end = recordings.offsets[episode : episode + 2]
        frames = recordings.frames[begin:end].astype(np.float32) / 255
        total += float(np.square(np.diff(frames, axis=0)).mean(axis=(1, 2, 3)).sum(dtype=float))
    return total / int((recordings.lengths[episodes] - 1).sum())


def baseline_errors(
    recordings: Recordings, starts: Tensor, mean: Tensor, horizon: int
) -> tuple[Tensor, Tensor]:
    """Computes the mean squared errors of freeze and climatology at each horizon.

    *Freeze* keeps the last true frame, *climatology* is the mean frame.

    Args:
        recordings: Recorded episodes.
        starts: Numbers of the last true frames, (windows,) int64; `horizon` more of the same
            episode follow each.
        mean: The mean frame, (3, S, S) float32 from 0 to 1.
        horizon: The last horizon T, in frames.

    Returns:
        Two tensors (T,) float32, means over the windows.
    """
    sums = torch.zeros(2, horizon, dtype=torch.float64)
    for truth in _windows(recordings, starts, horizon):
        last, later = truth[:, :1], truth[:, 1:]
        for place, picture in enumerate((last, mean)):
            sums[place] += frame_mse(picture, later).double().sum(dim=0)
    frozen, climate = (sums / len(starts)).float()
    return frozen, climate


def _windows(recordings: Recordings, starts: Tensor, horizon: int) -> Iterator[Tensor]:
    """Yields windows in batches, (B, horizon + 1, 3, S, S) float32 from 0 to 1."""
    for some in starts.split(TOGETHER):
        places = some[:, None] + torch.arange(horizon + 1)
        yield torch.from_numpy(recordings.frames[places.numpy()]).float() / 255
