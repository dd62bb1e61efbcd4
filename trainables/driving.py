"""The problem of the world-model study: predict the frames of a drive from earlier frames and the
actions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datasets.driving import Drives
from datasets.errors import InputError
from datasets.recordings import Recordings
from datasets.tensors import as_tensor
from record.trial import Role
from trainables.fit import SupervisedLearner
from trainables.models.world_model import WorldModel, WorldModelConfig
from trainables.problem import Context
from trainables.rollout import (
    CONTEXT,
    autoregressive,
    frame_mse,
    freeze,
    persistence,
    skill,
    teacher_forced,
)
from trainables.scheduled_sampling import sampling_rate

HORIZON = 100
"""Number of frames after the context over which free-running rollouts are evaluated."""

STRIDE = 50
"""Distance, in frames, between the starts of two successive validation windows."""

TOGETHER = 16
"""Number of windows that are rolled out in one batch; it does not change the errors."""

PAIRS = 1024
"""Approximate number of frames over which `freeze_errors` averages."""


@dataclass(frozen=True)
class Windows:
    """A batch of B windows of T steps, cut from episodes.

    Attributes:
        frames: Frames, (B, T + 1, 3, S, S) float32, from 0 to 1.
        actions: Actions, (B, T, 3) float32; action t follows frame t.
        rate: Current probability of scheduled sampling, () float32; None if nothing is sampled.
    """

    frames: Tensor
    actions: Tensor
    rate: Tensor | None = None


class DrivingProblem:
    """A `trainables.problem.Problem`: predict the frames of recorded drives.

    Args:
        drives: Recorded episodes and their split.

    Raises:
        InputError: If the frames of a split do not change, see `check_movement`.
    """

    def __init__(self, drives: Drives) -> None:
        check_movement(drives)
        self.drives = drives
        self.digest = drives.digest
        self.horizon = judged_horizon(drives)
        self.decided: Mapping[str, Sequence[Any]] = {}

    @property
    def facts(self) -> Mapping[str, Any]:
        """Number of frames, evaluated horizon in frames, side of a frame in pixels, and number of
        episodes of each split."""
        return {
            "frames": len(self.drives.recordings.frames),
            "horizon": self.horizon,
            "pixels": self.drives.recordings.size,
            **{name: len(part) for name, part in vars(self.drives.split).items()},
        }

    def remarks(self) -> Iterator[str]:
        """Yields remarks for the user on episodes that are too short to be evaluated."""
        for part in ("validation", "test"):
            lengths = self.drives.recordings.lengths[getattr(self.drives.split, part)]
            short = int((lengths < CONTEXT + self.horizon).sum())
            if short:
                yield (
                    f"{short} of {len(lengths)} {part} episodes are left out: they have less than "
                    f"{CONTEXT + self.horizon} frames"
                )
        if self.horizon < HORIZON:
            yield (
                f"trials are compared over {self.horizon} frames after the context, not {HORIZON}"
            )

    def check(self, config: WorldModelConfig) -> None:
        """Checks that drives are long enough for the training windows of a configuration.

        Raises:
            InputError: If every training episode is shorter than a window.
        """
        check_windows(self.drives, config)

    def learner(
        self, config: WorldModelConfig, role: Role, context: Context
    ) -> SupervisedLearner[Windows]:
        """Makes the learner of one trial; trials of every role train on the same split."""
        del role
        task = DrivingTask(self.drives, config, context.device)
        return SupervisedLearner(task, config, context.device)


class DrivingTask:
    """The `trainables.fit.Task` that fits one configuration to the drives.

    The loss is the mean squared error of the scored steps divided by the error of keeping the last
    true frame; it is 1 for a model that copies that frame. An epoch has as many windows as cover
    the train split once; their start frames are drawn anew in each epoch.

    Trials are compared by ``validation/skill``: 1 - (error of the free-running rollout) / (error
    of freezing the context's last frame), over the `judged_horizon`, up to `HORIZON` frames, after
    a context of `CONTEXT` frames. Its windows begin every `STRIDE` frames of the validation
    episodes; episodes shorter than a window are left out.

    Raises:
        InputError: If every training episode is shorter than a training window.
    """

    def __init__(self, data: Drives, config: WorldModelConfig, device: torch.device) -> None:
        check_windows(data, config)
        self.config = config
        self.size = data.recordings.size
        self.frames = as_tensor(data.recordings.frames, device)
        self.actions = as_tensor(data.recordings.actions, device)
        train = data.split.train
        self.device = device
        self.starts = torch.from_numpy(data.recordings.window_starts(train, config.steps + 1))
        self.windows = -(-int(data.recordings.lengths[train].sum()) // (config.steps + 1))
        self.scale = self._scale(data).to(device)
        self.horizon = judged_horizon(data)
        long = train[data.recordings.lengths[train] >= CONTEXT + self.horizon]
        few = long[: len(data.split.validation)]
        self.judged = {
            "train": self._starts_to_judge(data.recordings, few),
            "validation": self._starts_to_judge(data.recordings, data.split.validation),
        }

    def _scale(self, data: Drives) -> Tensor:
        """Computes the errors by which those of the scored steps are divided, (scored steps,)."""
        config = self.config
        sampled = config.sequence_length - config.context
        last = config.free_steps + 1 if config.weighting == "freeze" else 1
        errors = freeze_errors(data.recordings, data.split.train, last)
        free = errors[1:] if config.weighting == "freeze" else errors.expand(config.free_steps)
        return torch.cat([errors[:1].expand(sampled), free])

    def _starts_to_judge(self, recordings: Recordings, episodes: np.ndarray) -> Tensor:
        starts = recordings.window_starts(episodes, CONTEXT + self.horizon, STRIDE)
        return torch.from_numpy(starts).to(self.device)

    def model(self) -> nn.Module:
        return WorldModel(self.config, self.size)

    def steps_per_epoch(self) -> int:
        return -(-self.windows // self.config.batch_size)

    def training_batches(self, generator: torch.Generator, epoch: int) -> Iterator[Windows]:
        steps = self.steps_per_epoch()
        drawn = torch.randint(len(self.starts), (self.windows,), generator=generator)
        rates = [self._rate((epoch - 1 + n / steps) / self.config.epochs) for n in range(steps)]
        # All moves happen here, because each one synchronises with the GPU.
        starts, there = self.starts[drawn].to(self.device), torch.tensor(rates).to(self.device)
        for step, part in enumerate(starts.split(self.config.batch_size)):
            yield self._cut(part, self.config.steps + 1, there[step] if rates[step] else None)

    def _rate(self, progress: float) -> float:
        """Returns the probability of scheduled sampling at a progress of the training, 0 to 1."""
        return sampling_rate(self.config.sampling_schedule, self.config.sampling_rate, progress)

    def heaviest_batch(self) -> Windows:
        """Returns a batch with the final rate of scheduled sampling, when the most steps are fed
        with predictions."""
        batch = next(self.training_batches(torch.Generator().manual_seed(0), 1))
        rate = self._rate(1.0)
        return replace(batch, rate=torch.tensor(rate).to(self.device) if rate else None)

    def _cut(self, starts: Tensor, frames: int, rate: Tensor | None = None) -> Windows:
        places = starts[:, None] + torch.arange(frames, device=self.device)
        return Windows(self.frames[places].float() / 255, self.actions[places[:, :-1]], rate)

    def loss(self, model: nn.Module, batch: Windows) -> Tensor:
        predicted = unroll(model, batch, self.config)
        errors = frame_mse(predicted, batch.frames[:, self.config.context + 1 :])
        return (errors / self.scale).mean()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        found = self._errors(model, "validation")
        return {
            "validation/mse": found["teacher_forced"],
            "validation/persistence_ratio": found["teacher_forced"] / found["persistence"],
            "validation/autoregressive_mse": found["autoregressive"],
            "validation/skill": skill(found["autoregressive"], found["freeze"]),
            "train/mse": self._errors(model, "train")["teacher_forced"],
        }

    def _errors(self, model: nn.Module, part: str) -> dict[str, float]:
        """Computes mean squared errors of the model and the baselines over a split's windows."""
        sums: dict[str, Tensor] = {}
        starts = self.judged[part]
        for some in starts.split(TOGETHER):
            cut = self._cut(some, CONTEXT + self.horizon)
            truth = cut.frames[:, CONTEXT:]
            pictures = {
                "teacher_forced": teacher_forced(model, cut.frames, cut.actions, CONTEXT),
                "persistence": persistence(cut.frames, CONTEXT),
            }
            if part == "validation":
                pictures |= {
                    "autoregressive": autoregressive(
                        model, cut.frames[:, :CONTEXT], cut.actions, self.horizon
                    ),
                    "freeze": freeze(cut.frames, CONTEXT),
                }
            for name, picture in pictures.items():
                error = frame_mse(picture, truth).double().mean(dim=1).sum(dim=0)
                sums[name] = sums[name] + error if name in sums else error
        totals = torch.stack(list(sums.values())).tolist()  # one synchronisation with the GPU
        return {name: total / len(starts) for name, total in zip(sums, totals, strict=True)}


def judged_horizon(data: Drives) -> int:
    """Returns the number of frames over which evaluated rollouts predict.

    It is `HORIZON`, or less if the longest train episode, the longest validation episode or the
    second longest test episode is shorter than `CONTEXT` + `HORIZON` frames. Comparing finalists
    needs two test episodes.
    """
    lengths = data.recordings.lengths
    train, validation = (lengths[part].max() for part in (data.split.train, data.split.validation))
    test = np.sort(lengths[data.split.test])[-2]
    return min(HORIZON, int(min(train, validation, test)) - CONTEXT)


def check_movement(data: Drives) -> None:
    """Checks that frames change where a model is trained and evaluated.

    Otherwise the error of keeping a frame, by which errors are divided, would be zero.

    Raises:
        InputError: If the frames of the train split, or of the evaluated windows, do not change.
    """
    drives, horizon = data.recordings, judged_horizon(data)
    if not freeze_errors(drives, data.split.train, 1).any():
        raise InputError("hardly a frame of the train episodes differs from the one before it")
    for part, stride in (("validation", STRIDE), ("test", len(drives.frames))):
        starts = drives.window_starts(getattr(data.split, part), CONTEXT + horizon, stride)
        if not any(_changes(drives, begin + CONTEXT - 1, horizon) for begin in starts):
            raise InputError(
                f"the frames of the {part} episodes do not change where rollouts are judged, in "
                f"the {horizon} after {CONTEXT}: there is nothing to predict"
            )


def _changes(recordings: Recordings, first: int, steps: int) -> bool:
    """Returns whether the frame `first` differs from any of the `steps` frames after it."""
    later = recordings.frames[first + 1 : first + 1 + steps]
    return bool((later != recordings.frames[first]).any())


def check_windows(data: Drives, config: WorldModelConfig) -> None:
    """Checks that drives are long enough for the training windows of a configuration.

    Raises:
        InputError: If every training episode is shorter than a window.
    """
    longest = data.recordings.lengths[data.split.train].max()
    if config.steps + 1 > longest:
        raise InputError(
            f"sequence_length {config.sequence_length} and free_steps {config.free_steps} make "
            f"windows of {config.steps + 1} frames, the longest training episode has {longest}: "
            "choose fewer, or longer episodes"
        )


def unroll(model: nn.Module, batch: Windows, config: WorldModelConfig) -> Tensor:
    """Predicts the scored frames of training windows.

    Steps up to ``sequence_length`` are fed with the true frames, plus noise. After the context,
    scheduled sampling replaces each of these frames by the model's own prediction with the
    probability ``batch.rate``. The ``free_steps`` that follow are fed with predictions only.
    Gradients flow back through all steps.

    Returns:
        (B, scored steps, 3, S, S), without the steps of the context.
    """
    frames, actions = batch.frames, batch.actions
    if config.noise:
        frames = frames + config.noise * torch.randn_like(frames)
    true_steps = config.sequence_length if batch.rate is None else max(1, config.context)
    predicted, state = model(frames[:, :true_steps], actions[:, :true_steps])
    found = [predicted]
    for step in range(true_steps, config.steps):
        seen = found[-1][:, -1:].clamp(0, 1)  # as `autoregressive` does
        if batch.rate is not None and step < config.sequence_length:
            own = torch.rand(len(frames), device=frames.device) < batch.rate
            seen = torch.where(own[:, None, None, None, None], seen, frames[:, step : step + 1])
        predicted, state = model(seen, actions[:, step : step + 1], state)
        found.append(predicted)
    return torch.cat(found, dim=1)[:, config.context :]


def freeze_errors(recordings: Recordings, episodes: np.ndarray, horizon: int) -> Tensor:
    """Computes the mean squared error of keeping a frame for 1 to `horizon` steps.

    Errors are averaged over about `PAIRS` frames, evenly spread over the episodes.

    Returns:
        (horizon,) float32.
    """
    starts = recordings.window_starts(episodes, horizon + 1)
    starts = starts[:: max(1, len(starts) // PAIRS)]
    first = recordings.frames[starts].astype(np.float32) / 255
    errors = [
        np.square(recordings.frames[starts + later].astype(np.float32) / 255 - first).mean()
        for later in range(1, horizon + 1)
    ]
    return torch.tensor(errors, dtype=torch.float32)
