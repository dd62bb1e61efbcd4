"""Predictions that know nothing of driving, which a model has to be below."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from moving_stripes import striped_drives

from trainables import frame_baselines
from trainables.frame_baselines import baseline_errors, mean_frame, persistence_error


@pytest.mark.parametrize("together", [1, 2, 64])
def test_errors_are_those_of_each_window_and_horizon(
    monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(frame_baselines, "TOGETHER", together)
    recordings = striped_drives().recordings
    starts, mean = [3, 45, 90], mean_frame(recordings, np.arange(12))
    frozen, climate = baseline_errors(recordings, torch.tensor(starts), mean, 20)
    frames = recordings.frames / 255
    for later in range(1, 21):
        kept = [np.square(frames[n + later] - frames[n]).mean() for n in starts]
        level = [np.square(frames[n + later] - mean.numpy()).mean() for n in starts]
        assert float(frozen[later - 1]) == pytest.approx(np.mean(kept), rel=1e-5)
        assert float(climate[later - 1]) == pytest.approx(np.mean(level), rel=1e-5)


def test_persistence_is_averaged_over_all_steps_of_the_episodes() -> None:
    """One of them is shorter, and no step leads from an episode to the next."""
    data = striped_drives()
    keep = np.r_[0:25, 40 : len(data.recordings.frames)]
    cut = replace(
        data.recordings,
        frames=data.recordings.frames[keep],
        offsets=np.r_[0, data.recordings.offsets[1:] - 15],
    )
    films = [cut.frames[:25] / 255, cut.frames[65:105] / 255]
    steps = [np.square(np.diff(film, axis=0)).mean(axis=(1, 2, 3)) for film in films]
    found = persistence_error(cut, np.array([0, 2]))
    assert found == pytest.approx(np.concatenate(steps).mean(), rel=1e-5)


def test_the_mean_frame_is_that_of_all_frames_of_the_episodes() -> None:
    recordings = striped_drives().recordings
    found = mean_frame(recordings, np.array([1, 4]))
    expected = recordings.frames[np.r_[40:80, 160:200]].mean(axis=0) / 255
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_one_changed_pixel_is_an_error_of_its_size() -> None:
    """Two frames of two hundred, by a hundredth of the range."""
    frames = np.full((200, 3, 32, 32), 200, np.uint8)
    frames[:, :, 16:] = 40
    frames[120, 0, 5, 5] = 203
    still = replace(striped_drives().recordings, frames=frames, offsets=np.array([0, 200]))
    found = persistence_error(still, np.arange(1))
    assert found == pytest.approx(2 * (3 / 255) ** 2 / 3072 / 199, rel=1e-3)
