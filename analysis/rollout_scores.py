"""Test rollouts of a drive study's trial: the errors of model and baselines for every test episode
and horizon, and the frames of one episode."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis import kept_weights
from datasets.driving import Drives
from record.recorded_study import RecordedStudy
from record.trial import Trial
from record.values import made_of
from trainables import rollout
from trainables.driving import TOGETHER, DrivingTask, judged_horizon
from trainables.frame_baselines import mean_frame
from trainables.models.world_model import WorldModel, WorldModelConfig
from trainables.rollout import CONTEXT

PICTURES = ("teacher_forced", "autoregressive", "persistence", "freeze", "climatology")
"""What predicts the frames: the model, teacher-forced or autoregressive, and three baselines:
persistence copies the previous true frame, freeze keeps the last context frame, climatology is
the mean training frame."""


@dataclass(frozen=True)
class RolloutScores:
    """Rollouts over the test episodes, each after a context of `CONTEXT` frames.

    Attributes:
        mse: (pictures, episodes, horizons) float64, mean squared errors in squared pixel values;
            the first axis is in the order of `PICTURES`.
        ssim: (pictures, episodes, horizons) float64, structural similarities, dimensionless.
        truth: (horizons, 3, S, S) uint8, the frames of the first test episode.
        teacher_forced: (horizons, 3, S, S) uint8, the model's predictions of these frames, each
            from the true previous frame.
        autoregressive: (horizons, 3, S, S) uint8, the model's predictions of these frames, each
            from its own previous prediction.
    """

    mse: np.ndarray
    ssim: np.ndarray
    truth: np.ndarray
    teacher_forced: np.ndarray
    autoregressive: np.ndarray

    def error(self, picture: str) -> np.ndarray:
        """Returns the mean squared errors of one of `PICTURES`, (episodes, horizons)."""
        return self.mse[PICTURES.index(picture)]

    def share(self, picture: str, baseline: str, longest: int | None = None) -> float:
        """Returns the error of one of `PICTURES` as a share of a baseline's, both averaged over
        episodes and horizons; NaN if the baseline's error is zero, as nothing moves.

        Args:
            picture: One of `PICTURES`.
            baseline: Another one of `PICTURES`.
            longest: The last horizon that counts; None for all.
        """
        found, reference = (self.error(name)[:, :longest] for name in (picture, baseline))
        return float(_share(np.asarray(found.mean()), np.asarray(reference.mean())))

    def shares(self, picture: str, baseline: str) -> np.ndarray:
        """Returns the error of one of `PICTURES` as a share of a baseline's at each horizon,
        (horizons,), both averaged over episodes."""
        return _share(self.error(picture).mean(axis=0), self.error(baseline).mean(axis=0))

    def better_baseline(self, longest: int | None = None) -> np.ndarray:
        """Returns the error of the better of freeze and climatology at each horizon up to
        `longest`, (horizons,), both averaged over episodes."""
        frozen, climate = (
            self.error(name)[:, :longest].mean(axis=0) for name in ("freeze", "climatology")
        )
        return np.minimum(frozen, climate)

    def horizons_below_both(self, longest: int | None = None) -> int:
        """Returns the number of horizons up to `longest` at which the free-running error, averaged
        over episodes, is below those of freeze and climatology."""
        free = self.error("autoregressive")[:, :longest].mean(axis=0)
        return int((free < self.better_baseline(longest)).sum())

    def judged(self, longest: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns what trials are compared by, for each episode, (episodes,) each: the mean of two
        errors, over the horizons up to `longest`, and ones.

        The errors are the teacher-forced one, as a share of persistence, and the free-running one,
        as a share of the better of freeze and climatology at each horizon; both baselines are
        averaged over the episodes. 1 - sum of the first / sum of the second is the mean of both
        skills.
        """
        model, dream, copied = (
            self.error(name)[:, :longest]
            for name in ("teacher_forced", "autoregressive", "persistence")
        )
        best = self.better_baseline(longest)
        shares = model.mean(axis=1) / copied.mean() + dream.mean(axis=1) / best.mean()
        return shares / 2, np.ones_like(shares)

    def similarity(self, picture: str) -> np.ndarray:
        """Returns the structural similarity of one of `PICTURES`, (episodes, horizons)."""
        return self.ssim[PICTURES.index(picture)]


def _share(found: np.ndarray, reference: np.ndarray) -> np.ndarray:
    nothing = np.full_like(reference, np.nan)
    return np.divide(found, reference, out=nothing, where=reference > 0)


def of_trial(study: RecordedStudy, trial: Trial) -> RolloutScores | None:
    """Returns a trial's recorded test rollouts; None if it was not scored.

    Raises:
        InputError: If their file is damaged, or was written by another version of the code.
    """
    outcomes = study.artifacts.outcomes(trial)
    return None if outcomes is None else made_of(RolloutScores, outcomes.more)


def restore(trial: Trial, weights: dict[str, Any], size: int) -> WorldModel:
    """Rebuilds a trial's world model for frames of `size` x `size` pixels, see
    `kept_weights.restore`.

    Raises:
        InputError: If the weights do not fit this version of the model.
    """
    return kept_weights.restore(
        trial, weights, lambda config: WorldModel(WorldModelConfig(**config), size)
    )


@torch.no_grad()
def checked(trial: Trial, weights: dict[str, Any], data: Drives) -> WorldModel:
    """Rebuilds a trial's model, and checks it against the recorded validation error.

    Raises:
        InputError: If the weights belong to another version of the model.
    """
    model = restore(trial, weights, data.recordings.size)
    task = DrivingTask(data, WorldModelConfig(**weights["config"]), torch.device("cpu"))
    kept_weights.check_unchanged(trial, task.evaluate(model))
    return model


@torch.no_grad()
def dream(model: torch.nn.Module, data: Drives) -> RolloutScores:
    """Rolls the test episodes out up to the length of the shortest of them, in small batches.

    Episodes shorter than the rollouts by which trials are compared are left out, as they are on
    the validation split; `judged_horizon` ensures that at least two are left.
    """
    lengths = data.recordings.lengths[data.split.test]
    needed = CONTEXT + judged_horizon(data)
    test = data.split.test[lengths >= needed]
    climatology = mean_frame(data.recordings, data.split.train)
    parts = np.array_split(test, math.ceil(len(test) / TOGETHER))
    steps = int(data.recordings.lengths[test].min())
    made = [_dream(model, *_episodes(data, part, steps), climatology) for part in parts]
    first = made[0]
    return replace(
        first,
        mse=np.concatenate([part.mse for part in made], axis=1),
        ssim=np.concatenate([part.ssim for part in made], axis=1),
    )


def _dream(
    model: torch.nn.Module, frames: Tensor, actions: Tensor, climatology: Tensor
) -> RolloutScores:
    truth = frames[:, CONTEXT:]
    horizon = truth.shape[1]
    pictures = {
        "teacher_forced": rollout.teacher_forced(model, frames, actions, CONTEXT),
        "autoregressive": rollout.autoregressive(model, frames[:, :CONTEXT], actions, horizon),
        "persistence": rollout.persistence(frames, CONTEXT),
        "freeze": rollout.freeze(frames, CONTEXT),
        "climatology": climatology.expand_as(truth),
    }
    found = [pictures[name] for name in PICTURES]
    return RolloutScores(
        mse=np.stack([rollout.frame_mse(each, truth).double().numpy() for each in found]),
        ssim=np.stack([rollout.ssim(each, truth).double().numpy() for each in found]),
        truth=as_bytes(truth[0]),
        teacher_forced=as_bytes(pictures["teacher_forced"][0]),
        autoregressive=as_bytes(pictures["autoregressive"][0]),
    )


def _episodes(data: Drives, episodes: np.ndarray, steps: int) -> tuple[Tensor, Tensor]:
    """Returns the first `steps` frames of episodes, (episodes, steps, 3, S, S) float32 from 0 to
    1, and their actions, (episodes, steps, 3)."""
    drives = data.recordings
    starts = drives.offsets[episodes]
    places = starts[:, None] + np.arange(steps)
    frames = torch.from_numpy(drives.frames[places]).float() / 255
    return frames, torch.from_numpy(drives.actions[places])


def as_bytes(frames: Tensor) -> np.ndarray:
    """Converts float frames to uint8, clamping them to the range from 0 to 1."""
    return (frames.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
