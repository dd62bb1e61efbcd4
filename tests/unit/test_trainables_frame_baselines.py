"""The errors of keeping a frame and of the mean frame, which a model has to be below."""

from dataclasses import replace

import numpy as np
import pytest
from moving_stripes import striped_drives

from datasets.recordings import Recordings
from trainables import frame_baselines
from trainables.frame_baselines import baseline_errors, mean_frame


def by_definition(
    recordings: Recordings, episodes: np.ndarray, horizon: int
) -> tuple[list[float], float]:
    """Squared errors over all pairs of frames of an episode, one by one."""
    films = [
        recordings.frames[recordings.offsets[e] : recordings.offsets[e + 1]] / 255
        for e in episodes
    ]
    mean = np.concatenate(films).mean(axis=0)
    climate = np.mean([np.square(frame - mean).mean() for film in films for frame in film])
    found = []
    for later in range(1, horizon + 1):
        pairs = [
            np.square(film[n + later] - film[n]).mean()
            for film in films
            for n in range(len(film) - later)
        ]
        found.append(float(np.mean(pairs)))
    return found, float(climate)


def test_errors_are_averaged_all_over_the_episodes() -> None:
    """One episode is shorter than the longest horizon."""
    data = striped_drives()
    keep = np.r_[0:25, 40 : len(data.recordings.frames)]
    cut = replace(
        data.recordings,
        frames=data.recordings.frames[keep],
        offsets=np.r_[0, data.recordings.offsets[1:] - 15],
    )
    episodes = np.array([0, 2, 5])
    frozen, climate = baseline_errors(cut, episodes, mean_frame(cut, episodes), 39)
    expected, level = by_definition(cut, episodes, 39)
    np.testing.assert_allclose(frozen, expected, rtol=1e-4)
    assert float(climate) == pytest.approx(level, rel=1e-4)


def test_of_many_episodes_every_nth_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = striped_drives().recordings
    monkeypatch.setattr(frame_baselines, "FRAMES", 160)
    mean = mean_frame(recordings, np.arange(12))
    frozen, climate = baseline_errors(recordings, np.arange(12), mean, 5)
    films = recordings.frames.reshape(12, 40, 3, 32, 32)[::3] / 255
    assert float(climate) == pytest.approx(np.square(films - mean.numpy()).mean(), rel=1e-4)
    kept = [np.square(films[:, n:] - films[:, :-n]).mean() for n in range(1, 6)]
    np.testing.assert_allclose(frozen, kept, rtol=1e-4)


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
    one = np.arange(1)
    frozen, _ = baseline_errors(still, one, mean_frame(still, one), 1)
    assert float(frozen[0]) == pytest.approx(2 * (3 / 255) ** 2 / 3072 / 199, rel=1e-3)
