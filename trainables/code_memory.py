"""Trains a memory on the codes of recorded drives; see `trainables.models.mixture_memory`."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from datasets.driving import Drives
from datasets.errors import InputError
from datasets.tensors import as_tensor
from trainables.models.mixture_memory import MixtureMemory
from trainables.visions.codes import TOGETHER, Codes

STEPS = 32
"""Steps of a training window, or less where drives are shorter."""

REWARD = 1.0
"""Weight of the squared error of the reward, in units of its standard deviation, beside the mean
negative log-likelihood of a number of a code."""


@dataclass(frozen=True)
class CodedDrives:
    """Codes, actions and rewards of recorded drives, as a policy meets them that keeps each action
    up for some steps.

    Attributes:
        codes: Of all frames, (frames, Z) float32.
        actions: (frames, 3) float32; the mean of the actions of the steps that follow a frame.
        rewards: (frames,) float32; the sum of their rewards, in units of its standard deviation
            over the train episodes.
        repeat: Number of these steps.
        steps: Steps of a window, whose frames are `repeat` apart.
        train: First frames of the windows of the train episodes.
        validation: Of the validation episodes.
        frames: Number of frames of the train episodes.
    """

    codes: Tensor
    actions: Tensor
    rewards: Tensor
    repeat: int
    steps: int
    train: Tensor
    validation: Tensor
    frames: int

    @classmethod
    def of(cls, drives: Drives, vision: Codes, repeat: int, device: torch.device) -> "CodedDrives":
        """Returns the codes of recorded drives by a vision.

        Raises:
            InputError: If the train or validation episodes are shorter than a step of a window.
        """
        recordings, split = drives.recordings, drives.split
        longest = min(recordings.lengths[part].max() for part in (split.train, split.validation))
        steps = min(STEPS, (int(longest) - 1) // repeat)
        if steps < 1:
            raise InputError(
                f"action_repeat is {repeat}: expected less than the {longest} frames of a drive"
            )
        rewards, unit = rewards_of(drives, repeat)
        length = steps * repeat + 1
        starts = (
            recordings.window_starts(split.train, length),
            recordings.window_starts(split.validation, length, length),
        )
        return cls(
            coded(vision, recordings.frames, device),
            as_tensor(_next(recordings.actions, repeat) / repeat, device),
            as_tensor(rewards / unit, device),
            repeat,
            steps,
            *(torch.from_numpy(each).to(device) for each in starts),
            frames=int(recordings.lengths[split.train].sum()),
        )


def rewards_of(drives: Drives, repeat: int) -> tuple[np.ndarray, float]:
    """Returns the sum of the rewards of so many steps from each frame on, (frames,), and its
    standard deviation over the train episodes."""
    recordings = drives.recordings
    sums = _next(recordings.rewards, repeat)
    rows = [np.arange(*recordings.offsets[e : e + 2]) for e in drives.split.train]
    return sums, float(sums[np.concatenate(rows)].std()) or 1.0


def _next(values: np.ndarray, count: int) -> np.ndarray:
    """Sums each value, along the first axis, and those after it, so many in all; at the end there
    are fewer."""
    padding = np.zeros((count - 1, *values.shape[1:]), values.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([values, padding]), count, 0)
    return windows.sum(axis=-1)


@torch.no_grad()
def coded(vision: Codes, frames: np.ndarray, device: torch.device) -> Tensor:
    """Computes the codes of frames, (N, 3, S, S) uint8 -> (N, Z) float32."""
    parts = as_tensor(frames, device).split(TOGETHER)
    return torch.cat([vision(part.float() / 255) for part in parts])


@dataclass(frozen=True)
class Window:
    """Windows of T steps.

    Attributes:
        codes: (T + 1, B, Z).
        actions: (T, B, 3).
        rewards: (T, B).
    """

    codes: Tensor
    actions: Tensor
    rewards: Tensor


class MemoryTask:
    """The `trainables.fit.Task` that fits a memory to the codes of drives.

    The loss is the negative log-likelihood of the next code, a mean over its numbers, plus the
    squared error of the reward. An epoch has as many steps as the train episodes have frames, or a
    few more; its windows begin anywhere.

    Args:
        drives: Codes, actions and rewards.
        hidden: Width of the LSTM.
        mixtures: Number of Gaussians.
        batch_size: Number of windows in one optimiser step.
    """

    def __init__(self, drives: CodedDrives, hidden: int, mixtures: int, batch_size: int) -> None:
        self.drives = drives
        self.hidden = hidden
        self.mixtures = mixtures
        self.batch_size = batch_size

    def model(self) -> nn.Module:
        return MixtureMemory(self.drives.codes.shape[1], self.hidden, self.mixtures)

    def steps_per_epoch(self) -> int:
        return -(-self.drives.frames // (self.drives.steps * self.batch_size))

    def training_batches(
        self, model: nn.Module, generator: torch.Generator, epoch: int
    ) -> Iterator[Window]:
        del model, epoch
        starts = self.drives.train
        drawn = torch.randint(
            len(starts), (self.steps_per_epoch(), self.batch_size), generator=generator
        ).to(starts.device)
        return (self._window(starts[some]) for some in drawn)

    def heaviest_batch(self, model: nn.Module) -> Window:
        """Returns a whole batch."""
        del model
        return self._window(self.drives.train[:1].expand(self.batch_size))

    def _window(self, starts: Tensor) -> Window:
        drives = self.drives
        later = drives.repeat * torch.arange(drives.steps + 1, device=starts.device)
        places = starts + later[:, None]
        return Window(
            drives.codes[places], drives.actions[places[:-1]], drives.rewards[places[:-1]]
        )

    def loss(self, model: nn.Module, batch: Window) -> Tensor:
        surprise, error = _errors(model, batch)
        return surprise + REWARD * error

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        parts = self.drives.validation.split(TOGETHER)
        found = [_errors(model, self._window(part)) for part in parts]
        sizes = [len(part) for part in parts]
        surprise, error = (
            float(np.average([float(each) for each in errors], weights=sizes))
            for errors in zip(*found, strict=True)
        )
        return {"validation/surprise": surprise, "validation/reward_error": error}


def _errors(model: nn.Module, batch: Window) -> tuple[Tensor, Tensor]:
    """Computes the mean negative log-likelihood of a number of a code, in nats, and the mean
    squared error of the reward."""
    assert isinstance(model, MixtureMemory)
    outputs, _ = model(batch.codes[:-1], batch.actions)
    mixture = model.mixture(outputs)
    surprise = mixture.surprise(batch.codes[1:]).mean()
    return surprise, (mixture.reward - batch.rewards).square().mean()
