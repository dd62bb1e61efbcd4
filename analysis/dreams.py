"""Test rollouts of a trial: made once, kept with its run, read from there ever after.

Each trial that is compared gets `FILE` among the artifacts of its run: the errors of every test
episode at every horizon, of the model and of the baselines, and the frames of one episode.
"""

import math
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis import kept_weights
from datasets.driving import Drives, DrivingOptions, open_drives
from datasets.errors import InputError
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables import rollout
from trainables.driving import TOGETHER, DrivingTask, judged_horizon
from trainables.models.world_model import WorldModel, WorldModelConfig
from trainables.rollout import CONTEXT

FILE = "test_rollouts.npz"

LARGEST = 2**31
"""Bytes of `FILE`, unpacked: ample for 10,000 frames of 64 pixels."""

PICTURES = ("teacher_forced", "autoregressive", "persistence", "freeze", "climatology")
"""Who predicts: the model, in two ways, and the baselines."""


@dataclass(frozen=True)
class Dreams:
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


def of_trial(study: RecordedStudy, trial: Trial, data: Callable[[], Drives]) -> Dreams | None:
    """What a trial dreams: as made earlier, or made now and kept with its run.

    Args:
        trial: The trial.
        data: Opens the study's drives; not called if they are not needed.

    Returns:
        None if neither rollouts nor weights were kept.

    Raises:
        InputError: See `make`, and what `data` raises.
    """
    made = recorded(study, trial)
    if made is None and (weights := kept_weights.weights(study, trial)) is not None:
        made = make(trial, weights, data())
        record(study, trial, made)
    return made


def recorded(study: RecordedStudy, trial: Trial) -> Dreams | None:
    """The rollouts made earlier; None if there are none."""
    with tempfile.TemporaryDirectory() as scratch:
        file = study.artifacts.fetch(trial, FILE, Path(scratch))
        if file is None:
            return None
        with np.load(file) as arrays:
            _check_size(arrays.zip, trial)
            return Dreams(*(arrays[field.name] for field in fields(Dreams)))


def _check_size(archive: zipfile.ZipFile, trial: Trial) -> None:
    """
    Raises:
        InputError: If the arrays of an archive would take more memory than any rollouts do.
    """
    claimed = sum(member.file_size for member in archive.infolist())
    if claimed > LARGEST:
        raise InputError(
            f"{FILE} of trial {trial.number} would unpack to {claimed:,} bytes, expected at most "
            f"{LARGEST:,}: it is not what was recorded; remove it from the run"
        )


def record(study: RecordedStudy, trial: Trial, made: Dreams) -> None:
    """Keeps rollouts with the run of their trial."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / FILE
        np.savez_compressed(file, **{f.name: getattr(made, f.name) for f in fields(Dreams)})
        study.artifacts.publish(trial, [file])


def open_data(study: RecordedStudy, cache: Path, recordings: str | None) -> Drives:
    """The drives that a study learned from.

    Args:
        study: The study.
        cache: Folder of recordings.
        recordings: Where they are on this machine; None: where they were when the study was run.

    Raises:
        InputError: If they are not there, or are others than those of the study.
    """
    options = study.data_options(DrivingOptions)
    if recordings is not None:
        options = replace(options, recordings=recordings)
    elif options.recordings is not None and not Path(options.recordings).is_file():
        raise InputError(
            f"the drives of {study.name} are not at {options.recordings}: give their path with "
            "--recordings"
        )
    data = open_drives(options, study.params["seed"], cache)
    if data.digest != study.params["data.digest"]:
        raise InputError(
            f"these are not the drives of {study.name}: their digest is {data.digest}, recorded "
            f"is {study.params['data.digest']}; give the original with --recordings"
        )
    return data


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


def make(trial: Trial, weights: dict[str, Any], data: Drives) -> Dreams:
    """Rolls the test episodes out.

    Raises:
        InputError: See `checked`.
    """
    return dream(checked(trial, weights, data), data)


@torch.no_grad()
def dream(model: torch.nn.Module, data: Drives) -> Dreams:
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


def _dream(model: torch.nn.Module, frames: Tensor, actions: Tensor, climatology: Tensor) -> Dreams:
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
    return Dreams(
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
