"""The problem of the world-model study: predict the frames of a drive from earlier frames and the
actions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datasets.driving import Drives
from datasets.errors import InputError
from datasets.recordings import Recordings
from datasets.tensors import as_tensor
from record.trial import Role
from trainables.dreams import Dreams, FreeRun, Moments, dreams_at
from trainables.fit import SupervisedLearner
from trainables.frame_baselines import baseline_errors, mean_frame, persistence_error
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

HORIZON = 150
"""Number of frames after the context over which free-running rollouts are evaluated."""

STRIDE = 50
"""Distance, in frames, between the starts of two successive validation windows."""

FEW = 8
"""Number of training episodes over which the training error is evaluated."""

TOGETHER = 24
"""Number of windows that are rolled out in one batch; it does not change the errors."""

LEAST_SCALE = 0.01
"""Least number that an error of a dream is divided by, as a share of the error of keeping a frame
for one step: drives may begin with frames that hardly change."""


@dataclass(frozen=True)
class Windows:
    """A batch of B windows of T steps, cut from episodes, and of free-running steps of dreams.

    Attributes:
        frames: Frames, (B, T + 1, 3, S, S) float32, from 0 to 1.
        actions: Actions, (B, T, 3) float32; action t follows frame t.
        free_run: Free-running steps of dreams; None if there are none.
        rate: Current probability of scheduled sampling, () float32; None if nothing is sampled.
    """

    frames: Tensor
    actions: Tensor
    free_run: FreeRun | None = None
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

    The loss is the weighted mean of the squared errors of all scored steps, those fed with true
    frames and those of dreams, as shares of those of a simple prediction. An epoch predicts as
    many frames as the train split has, or a few more; the start frames of its windows and dreams
    are drawn anew in each epoch. Dreams begin where rollouts of the train split would be judged.

    Trials are compared by ``validation/skill``, the mean of two: ``one_step_skill``, 1 - (error of
    the teacher-forced rollout) / (error of copying the frame before), and ``dream_skill``, 1 -
    (error of the free-running rollout) / (error of the better of freeze and climatology, at each
    horizon). Both are over the `judged_horizon`, up to `HORIZON` frames, after a context of
    `CONTEXT` frames. Windows begin every `STRIDE` frames of the validation episodes; episodes
    shorter than a window are left out.

    Raises:
        InputError: If every training episode is shorter than a training window.
    """

    def __init__(self, data: Drives, config: WorldModelConfig, device: torch.device) -> None:
        check_windows(data, config)
        self.config, self.data = config, data
        self.size = data.recordings.size
        self.frames = as_tensor(data.recordings.frames, device)
        self.actions = as_tensor(data.recordings.actions, device)
        train = data.split.train
        self.device = device
        length = config.sequence_length + 1
        self.starts = torch.from_numpy(data.recordings.window_starts(train, length))
        self.to_predict = int(data.recordings.lengths[train].sum())
        self.mean_frame = mean_frame(data.recordings, train)
        self.horizon = judged_horizon(data)
        self.dream_starts = self._starts_to_judge(data.recordings, train)
        long = train[data.recordings.lengths[train] >= CONTEXT + self.horizon]
        self.judged = {
            "train": self._starts_to_judge(data.recordings, long[:FEW]).to(device),
            "validation": self._starts_to_judge(data.recordings, data.split.validation).to(device),
        }

    def _starts_to_judge(self, recordings: Recordings, episodes: np.ndarray) -> Tensor:
        starts = recordings.window_starts(episodes, CONTEXT + self.horizon, STRIDE)
        return torch.from_numpy(starts)

    @cached_property
    def one_step_scale(self) -> float:
        """What errors of steps fed with true frames are divided by."""
        return persistence_error(self.data.recordings, self.data.split.train)

    @cached_property
    def scale(self) -> Tensor:
        """What errors of dreams are divided by, (horizon,); only a loss asks for it."""
        scale = torch.full((self.horizon,), self.one_step_scale)
        if self.config.weighting == "baseline":
            last = self.dream_starts + CONTEXT - 1
            better = torch.minimum(
                *baseline_errors(self.data.recordings, last, self.mean_frame, self.horizon)
            )
            scale = better.clamp(min=LEAST_SCALE * self.one_step_scale)
        return scale.to(self.device)

    def model(self) -> nn.Module:
        return WorldModel(self.config, self.size)

    def steps_per_epoch(self) -> int:
        return -(-self.to_predict // self.config.predictions)

    def predictions_per_epoch(self) -> int:
        """Returns the number of frames that are predicted in an epoch."""
        return self.steps_per_epoch() * self.config.predictions

    def training_batches(
        self, model: nn.Module, generator: torch.Generator, epoch: int
    ) -> Iterator[Windows]:
        config, steps = self.config, self.steps_per_epoch()
        rates = [self._rate((epoch - 1 + n / steps) / config.epochs) for n in range(steps)]
        yield from self._batches(model, generator, rates)

    def _batches(
        self, model: nn.Module, generator: torch.Generator, rates: Sequence[float]
    ) -> Iterator[Windows]:
        """Yields batches of windows, one for each probability of scheduled sampling."""
        config, steps = self.config, len(rates)
        drawn = torch.randint(len(self.starts), (steps, config.batch_size), generator=generator)
        # All moves happen here, because each one synchronises with the GPU.
        starts, there = self.starts[drawn].to(self.device), torch.tensor(rates).to(self.device)
        dreams = self._dreams(model, generator, steps) if config.learns_dreams else None
        for step, part in enumerate(starts):
            yield replace(
                self._cut(part, config.sequence_length + 1),
                free_run=self._free_run(dreams, step) if dreams else None,
                rate=there[step] if rates[step] else None,
            )

    def _dreams(self, model: nn.Module, generator: torch.Generator, steps: int) -> Dreams:
        """Returns dreams for some optimiser steps to go on with, in random order.

        They begin where rollouts of the train split would be judged, and end as these do.
        """
        count, oldest = steps * self.config.dreams, self.horizon - self.config.free_steps
        moments = Moments.drawn(self.dream_starts, oldest, count, generator)
        order = torch.randperm(count, generator=generator).to(self.device)
        return dreams_at(model, self.frames, self.actions, moments).part(order)

    def _free_run(self, dreams: Dreams, step: int) -> FreeRun:
        """Returns what an optimiser step learns of the dreams of an epoch."""
        count, free = self.config.dreams, self.config.free_steps
        some = dreams.part(slice(step * count, (step + 1) * count))
        return some.free_run(self.frames, self.actions, free)

    def _rate(self, progress: float) -> float:
        """Returns the probability of scheduled sampling at a progress of the training, 0 to 1."""
        return sampling_rate(self.config.sampling_schedule, self.config.sampling_rate, progress)

    def heaviest_batch(self, model: nn.Module) -> Windows:
        """Returns a batch with the final rate of scheduled sampling, when the most steps are fed
        with predictions."""
        generator = torch.Generator().manual_seed(0)
        return next(self._batches(model, generator, [self._rate(1.0)]))

    def _cut(self, starts: Tensor, frames: int) -> Windows:
        places = starts[:, None] + torch.arange(frames, device=self.device)
        return Windows(self.frames[places].float() / 255, self.actions[places[:, :-1]])

    def loss(self, model: nn.Module, batch: Windows) -> Tensor:
        config = self.config
        seen = window_predictions(model, batch, config)
        scored = slice(config.context, config.sequence_length)
        errors = frame_mse(seen[:, scored], batch.frames[:, 1:][:, scored]) / self.one_step_scale
        total = config.one_step_weight * errors.sum()
        weight = config.one_step_weight * errors.numel()
        if batch.free_run is not None:
            errors = frame_mse(batch.free_run.predicted(model), batch.free_run.truth)
            later = torch.arange(errors.shape[1], device=self.device)
            errors = errors / self.scale[batch.free_run.dreams.age.long()[:, None] + later]
            total, weight = total + errors.sum(), weight + errors.numel()
        return total / weight

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        found = self._errors(model, "validation")
        forced, copied = (float(found[name].mean()) for name in ("teacher_forced", "persistence"))
        free, frozen, climate = (
            found[name] for name in ("autoregressive", "freeze", "climatology")
        )
        best = torch.minimum(frozen, climate)
        one_step = skill(forced, copied)
        dream = skill(float(free.mean()), float(best.mean()))
        return {
            "validation/mse": forced,
            "validation/persistence_ratio": forced / copied,
            "validation/autoregressive_mse": float(free.mean()),
            "validation/one_step_skill": one_step,
            "validation/dream_skill": dream,
            "validation/horizons_below_baselines": float((free < best).double().mean()),
            "validation/skill": (one_step + dream) / 2,
            "train/mse": float(self._errors(model, "train")["teacher_forced"].mean()),
        }

    def _errors(self, model: nn.Module, part: str) -> dict[str, Tensor]:
        """Computes mean squared errors of the model and the baselines over a split's windows, by
        horizon, (T,) each, on the CPU."""
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
                    "climatology": self.mean_frame.to(self.device),
                }
            for name, picture in pictures.items():
                error = frame_mse(picture, truth).double().sum(dim=0)
                sums[name] = sums[name] + error if name in sums else error
        totals = torch.stack(list(sums.values())).cpu()  # one synchronisation with the GPU
        return dict(zip(sums, totals / len(starts), strict=True))


def judged_horizon(data: Drives) -> int:
    """Returns the number of frames over which evaluated rollouts predict.

    It is `HORIZON`, or less if the longest train episode, the longest validation episode or the
    second longest test episode is shorter than `CONTEXT` + `HORIZON` frames: comparing finalists
    needs two test episodes.
    """
    lengths = data.recordings.lengths
    train, validation = (lengths[part].max() for part in (data.split.train, data.split.validation))
    test = np.sort(lengths[data.split.test])[-2]
    return min(HORIZON, int(min(train, validation, test)) - CONTEXT)


def check_movement(data: Drives) -> None:
    """Checks that frames change where a model is evaluated.

    Otherwise the error of keeping a frame, by which errors are divided, would be zero. That they
    change in the train episodes is checked by `datasets.driving.open_drives`.

    Raises:
        InputError: If the frames of the evaluated windows do not change.
    """
    drives, horizon = data.recordings, judged_horizon(data)
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
        InputError: If every training episode is shorter than a window, or a rollout that is judged
            has fewer steps than a dream goes on.
    """
    longest, horizon = data.recordings.lengths[data.split.train].max(), judged_horizon(data)
    if config.learns_dreams and config.free_steps > horizon:
        raise InputError(
            f"free_steps is {config.free_steps}, and dreams are judged over {horizon} frames: "
            "choose fewer, or longer episodes"
        )
    if config.sequence_length + 1 > longest:
        raise InputError(
            f"sequence_length {config.sequence_length} makes windows of "
            f"{config.sequence_length + 1} frames, the longest training episode has {longest}: "
            "choose less, or longer episodes"
        )


def window_predictions(model: nn.Module, batch: Windows, config: WorldModelConfig) -> Tensor:
    """Runs over training windows, whose frames, plus noise, are fed to the model.

    After the context, scheduled sampling feeds the model's own prediction in place of the true
    frame with the probability ``batch.rate``. Gradients flow back through all steps.

    Returns:
        Predicted frames, (B, sequence_length, 3, S, S).
    """
    length = config.sequence_length
    frames, actions = batch.frames[:, :length], batch.actions[:, :length]
    if config.noise:
        frames = frames + config.noise * torch.randn_like(frames)
    true_steps = length if batch.rate is None else max(1, config.context)
    predicted, state = model(frames[:, :true_steps], actions[:, :true_steps])
    age = predicted.new_ones(len(frames))
    found = [predicted]
    for step in range(true_steps, length):
        assert batch.rate is not None
        own = torch.rand(len(frames), device=frames.device) < batch.rate
        guess = found[-1][:, -1:].clamp(0, 1)
        seen = torch.where(own[:, None, None, None, None], guess, frames[:, step : step + 1])
        age = torch.where(own, age, 0)
        predicted, state = model(seen, actions[:, step : step + 1], state, age[:, None])
        age = age + 1
        found.append(predicted)
    return torch.cat(found, dim=1)
