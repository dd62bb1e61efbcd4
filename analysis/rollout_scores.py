"""Test rollouts of a trial of drives: the errors of every test episode at
every horizon, of the model and of the baselines, and the frames of one episode."""

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
from trainables.models.world_model import WorldModel, WorldModelConfig
from trainables.rollout import CONTEXT

PICTURES = ("teacher_forced", "autoregressive", "persistence", "freeze", "climatology")
"""Who predicts: the model, in two ways, and the baselines."""


@dataclass(frozen=True)
class RolloutScores:
    """Rollouts over the test episodes, after a context of `CONTEXT` frames each.

    Attributes:
        mse: (pictures, episodes, horizons) float64, in the order of `PICTURES`, in squared pixel
            values.
        ssim: The same shape; dimensionless.
        truth: (horizons, 3, S, S) uint8, the frames of the first test episode.
        teacher_forced: What the model predicts for them from the true frame before each.
        autoregressive: And from its own predictions.
    """

    mse: np.ndarray
    ssim: np.ndarray
    truth: np.ndarray
    teacher_forced: np.ndarray
    autoregressive: np.ndarray

    def error(self, picture: str) -> np.ndarray:
        """Mean squared error of one of `PICTURES`, (episodes, horizons)."""
        return self.mse[PICTURES.index(picture)]

    def share(self, picture: str, baseline: str, longest: int | None = None) -> float:
        """Its error as a share of a baseline's, both means over episodes and horizons; NaN where
        the baseline's is zero, as nothing moves.

        Args:
            picture: One of `PICTURES`.
            baseline: Another one.
            longest: Horizon up to which; None: all.
        """
        found, reference = (self.error(name)[:, :longest] for name in (picture, baseline))
        return float(_share(np.asarray(found.mean()), np.asarray(reference.mean())))

    def shares(self, picture: str, baseline: str) -> np.ndarray:
        """The share at each horizon: (horizons,)."""
        return _share(self.error(picture).mean(axis=0), self.error(baseline).mean(axis=0))

    def free_running(self, longest: int) -> tuple[np.ndarray, np.ndarray]:
        """What the skill of the rollout is made of: the error of the model and that of freezing
        the last frame of the context, (episodes,) each, means over the horizons up to `longest`;
        1 - the ratio of both sums is the skill."""
        model, freeze = (
            self.error(name)[:, :longest].mean(axis=1) for name in ("autoregressive", "freeze")
        )
        return model, freeze

    def similarity(self, picture: str) -> np.ndarray:
        """Structural similarity of one of `PICTURES`, (episodes, horizons)."""
        return self.ssim[PICTURES.index(picture)]


def _share(found: np.ndarray, reference: np.ndarray) -> np.ndarray:
    nothing = np.full_like(reference, np.nan)
    return np.divide(found, reference, out=nothing, where=reference > 0)


def of_trial(study: RecordedStudy, trial: Trial) -> RolloutScores | None:
    """What a trial dreams of the test episodes; None where it was not scored.

    Raises:
        InputError: If the file that says so is damaged, or another version of the code wrote it.
    """
    outcomes = study.artifacts.outcomes(trial)
    return None if outcomes is None else made_of(RolloutScores, outcomes.more)


def restore(trial: Trial, weights: dict[str, Any], size: int) -> WorldModel:
    """The model of a trial, of frames of so many pixels on a side; see `kept_weights.restore`."""
    return kept_weights.restore(
        trial, weights, lambda config: WorldModel(WorldModelConfig(**config), size)
    )


@torch.no_grad()
def checked(trial: Trial, weights: dict[str, Any], data: Drives) -> WorldModel:
    """The model of a trial, after a look at the validation split.

    Raises:
        InputError: If the weights are those of another version of the model.
    """
    model = restore(trial, weights, data.recordings.size)
    task = DrivingTask(data, WorldModelConfig(**weights["config"]), torch.device("cpu"))
    kept_weights.check_unchanged(trial, task.evaluate(model))
    return model


@torch.no_grad()
def dream(model: torch.nn.Module, data: Drives) -> RolloutScores:
    """Rolls the test episodes out to the end of the shortest of them, a few at a time.

    Those that are shorter than the rollouts that trials are compared by are left out, as they are
    on the validation split; `judged_horizon` sees to it that two are left.
    """
    lengths = data.recordings.lengths[data.split.test]
    needed = CONTEXT + judged_horizon(data)
    test, climatology = data.split.test[lengths >= needed], _mean_frame(data)
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
    """The first frames of episodes, (episodes, steps, 3, S, S) from 0 to 1, and actions,
    (episodes, steps, 3)."""
    drives = data.recordings
    starts = drives.offsets[episodes]
    places = starts[:, None] + np.arange(steps)
    frames = torch.from_numpy(drives.frames[places]).float() / 255
    return frames, torch.from_numpy(drives.actions[places])


def _mean_frame(data: Drives) -> Tensor:
    """(3, S, S), over the train split."""
    drives = data.recordings
    sums = np.zeros(drives.frames.shape[1:])
    for episode in data.split.train:
        sums += drives.frames[drives.offsets[episode] : drives.offsets[episode + 1]].sum(axis=0)
    return torch.from_numpy(sums / drives.lengths[data.split.train].sum() / 255).float()


def as_bytes(frames: Tensor) -> np.ndarray:
    """Frames as they are stored: float from 0 to 1, or beyond, -> uint8."""
    return (frames.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
