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
from trainables.dreams import Dreams, Moments, dreamt, joined, replayed
from trainables.fit import SupervisedLearner
from trainables.frame_baselines import baseline_errors, mean_frame
from trainables.models.world_model import State, WorldModel, WorldModelConfig
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


@dataclass(frozen=True)
class Windows:
    """A batch of B windows of T steps, cut from episodes, some of which end in a dream.

    Attributes:
        frames: Frames, (B, T + 1, 3, S, S) float32, from 0 to 1.
        actions: Actions, (B, T, 3) float32; action t follows frame t.
        dreams: Number of windows, the first ones, from whose ends the model dreams on.
        replayed: Dreams that go on in the middle of long ones; None if there are none.
        rate: Current probability of scheduled sampling, () float32; None if nothing is sampled.
    """

    frames: Tensor
    actions: Tensor
    dreams: int = 0
    replayed: Dreams | None = None
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
    frames and those of dreams, as shares of those of a simple prediction. An epoch has as many
    windows as cover the train split once; their start frames are drawn anew in each epoch.

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
        self.config = config
        self.size = data.recordings.size
        self.frames = as_tensor(data.recordings.frames, device)
        self.actions = as_tensor(data.recordings.actions, device)
        train = data.split.train
        self.device = device
        self.starts = torch.from_numpy(data.recordings.window_starts(train, config.steps + 1))
        self.windows = -(-int(data.recordings.lengths[train].sum()) // (config.steps + 1))
        self.mean_frame = mean_frame(data.recordings, train)
        self.horizon = judged_horizon(data)
        last = max(self.horizon, config.steps)
        frozen, climate = baseline_errors(data.recordings, train, self.mean_frame, last)
        scales = {
            "equal": frozen[:1].expand(last),
            "freeze": frozen,
            "baseline": torch.minimum(frozen, climate),
        }
        self.scale = scales[config.weighting].to(device)
        self.long = self._starts_to_judge(data.recordings, train)
        long = train[data.recordings.lengths[train] >= CONTEXT + self.horizon]
        self.judged = {
            "train": self._starts_to_judge(data.recordings, long[:FEW]).to(device),
            "validation": self._starts_to_judge(data.recordings, data.split.validation).to(device),
        }

    def _starts_to_judge(self, recordings: Recordings, episodes: np.ndarray) -> Tensor:
        starts = recordings.window_starts(episodes, CONTEXT + self.horizon, STRIDE)
        return torch.from_numpy(starts)

    def model(self) -> nn.Module:
        return WorldModel(self.config, self.size, self.mean_frame)

    def steps_per_epoch(self) -> int:
        return -(-self.windows // self.config.batch_size)

    def training_batches(
        self, model: nn.Module, generator: torch.Generator, epoch: int
    ) -> Iterator[Windows]:
        config, steps = self.config, self.steps_per_epoch()
        drawn = torch.randint(len(self.starts), (self.windows,), generator=generator)
        rates = [self._rate((epoch - 1 + n / steps) / config.epochs) for n in range(steps)]
        # All moves happen here, because each one synchronises with the GPU.
        starts, there = self.starts[drawn].to(self.device), torch.tensor(rates).to(self.device)
        dreams = config.dreams if epoch > config.one_step_first * config.epochs else 0
        long = self._replayed(model, generator, steps) if dreams else None
        for step, part in enumerate(starts.split(config.batch_size)):
            batch = self._cut(part, (config.steps if dreams else config.sequence_length) + 1)
            if rates[step]:
                batch = replace(batch, rate=there[step])
            if dreams and config.free_steps:
                own = slice(step * config.replayed, (step + 1) * config.replayed)
                batch = replace(
                    batch,
                    dreams=min(dreams - config.replayed, len(part)),
                    replayed=long.part(own) if long else None,
                )
            yield batch

    def _replayed(self, model: nn.Module, generator: torch.Generator, steps: int) -> Dreams | None:
        """Dreams as many long dreams as an epoch goes on with, in random order.

        They begin where rollouts of the train split would be judged, and end as these do.
        """
        count = steps * self.config.replayed
        if not count:
            return None
        free = self.config.free_steps
        moments = Moments.drawn(self.long, self.horizon - free, count, generator)
        order = torch.randperm(count, generator=generator).to(self.device)
        return replayed(model, self.frames, self.actions, moments, free).part(order)

    def _rate(self, progress: float) -> float:
        """Returns the probability of scheduled sampling at a progress of the training, 0 to 1."""
        return sampling_rate(self.config.sampling_schedule, self.config.sampling_rate, progress)

    def heaviest_batch(self, model: nn.Module) -> Windows:
        """Returns a batch of the last epoch with the final rate of scheduled sampling, when the
        most steps are fed with predictions."""
        generator = torch.Generator().manual_seed(0)
        batch = next(self.training_batches(model, generator, self.config.epochs))
        rate = self._rate(1.0)
        return replace(batch, rate=torch.tensor(rate).to(self.device) if rate else None)

    def _cut(self, starts: Tensor, frames: int) -> Windows:
        places = starts[:, None] + torch.arange(frames, device=self.device)
        return Windows(self.frames[places].float() / 255, self.actions[places[:, :-1]])

    def loss(self, model: nn.Module, batch: Windows) -> Tensor:
        config = self.config
        seen, state, age = fed_with_truth(model, batch, config)
        scored = slice(config.context + 1, config.sequence_length + 1)
        errors = frame_mse(seen[:, config.context :], batch.frames[:, scored]) / self.scale[0]
        total, weight = errors.sum(), errors.numel()
        dreams = self._dreams(batch, seen, state, age)
        if dreams is not None:
            total, weight = config.one_step_weight * total, config.one_step_weight * weight
            errors = frame_mse(dreamt(model, dreams), dreams.truth)
            errors = errors / self._scale(dreams.age, errors.shape[1])
            total, weight = total + errors.sum(), weight + errors.numel()
        return total / weight

    def _dreams(self, batch: Windows, seen: Tensor, state: State, age: Tensor) -> Dreams | None:
        """Returns the dreams of a batch: those from the ends of windows and the replayed ones.

        Args:
            batch: The batch.
            seen: Predictions of the windows, (B, T, 3, S, S).
            state: State after the windows.
            age: Ages of the last predictions, (B,).
        """
        parts = []
        if batch.dreams:
            begin, some = self.config.sequence_length, slice(batch.dreams)
            parts.append(
                Dreams(
                    frames=seen[some, -1:].clamp(0, 1),
                    state=tuple(each[:, some] for each in state),
                    age=age[some],
                    actions=batch.actions[some, begin:],
                    truth=batch.frames[some, begin + 1 :],
                )
            )
        if batch.replayed is not None:
            parts.append(batch.replayed)
        return joined(parts) if parts else None

    def _scale(self, age: Tensor, steps: int) -> Tensor:
        """Returns what the errors of steps after predictions of some ages are divided by,
        (N, steps)."""
        horizon = age.long()[:, None] + torch.arange(1, steps + 1, device=age.device)
        return self.scale[horizon - 1]

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
    bounds = ((int(drives.offsets[e]), int(drives.lengths[e])) for e in data.split.train)
    if not any(_changes(drives, begin, length - 1) for begin, length in bounds):
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
        InputError: If every training episode is shorter than a window, or a rollout that is judged
            has no more steps than a dream goes on.
    """
    longest = data.recordings.lengths[data.split.train].max()
    if config.replayed and config.free_steps >= judged_horizon(data):
        raise InputError(
            f"replay goes on for free_steps, {config.free_steps}, in dreams of "
            f"{judged_horizon(data)} frames: choose fewer, longer episodes, or --replay 0"
        )
    if config.steps + 1 > longest:
        raise InputError(
            f"sequence_length {config.sequence_length} and free_steps {config.free_steps} make "
            f"windows of {config.steps + 1} frames, the longest training episode has {longest}: "
            "choose fewer, or longer episodes"
        )


def fed_with_truth(
    model: nn.Module, batch: Windows, config: WorldModelConfig
) -> tuple[Tensor, State, Tensor]:
    """Runs over the steps of training windows that are fed with true frames, plus noise.

    After the context, scheduled sampling replaces each of these frames by the model's own
    prediction with the probability ``batch.rate``. Gradients flow back through all steps.

    Returns:
        Predicted frames, (B, sequence_length, 3, S, S), the state after them, and the age of the
        last of them, (B,).
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
    return torch.cat(found, dim=1), state, age
