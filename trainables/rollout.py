"""What a world model makes of a drive: rollouts, and how far they are from the truth.

A rollout sees some true frames first, the context, and then predicts frame after frame, always
with the true actions. Teacher-forced, each prediction is made from the true frame before it;
autoregressive, from the prediction before it. Horizon h is the h-th frame after the context.

Beside a model stand three baselines that know no driving: *persistence* copies the true frame
before (teacher-forced), *freeze* keeps the last frame of the context (autoregressive),
*climatology* is the mean frame of the train split.

Shapes below: sequences B, context K, horizons T, pixels on a side S. Frames are float32 from 0 to
1.
"""

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

CONTEXT = 10
"""Frames that a rollout which is judged sees first."""


def teacher_forced(model: nn.Module, frames: Tensor, actions: Tensor, context: int) -> Tensor:
    """Predicts each frame after the context from the true one before it.

    Args:
        model: See `WorldModel`.
        frames: (B, K + T, 3, S, S).
        actions: (B, K + T, 3) or longer by any number; the last ones are not looked at.
        context: K, at least 1.

    Returns:
        (B, T, 3, S, S).
    """
    predicted, _ = model(frames[:, :-1], actions[:, : frames.shape[1] - 1])
    return predicted[:, context - 1 :]


def autoregressive(model: nn.Module, frames: Tensor, actions: Tensor, horizon: int) -> Tensor:
    """Predicts the frames after the context, each from the prediction before it.

    What a model is fed is clipped to the range of frames: it was never trained on another, and a
    rollout could run away.

    Args:
        model: See `WorldModel`.
        frames: The context, (B, K, 3, S, S).
        actions: (B, at least K + T - 1, 3).
        horizon: T, at least 1.

    Returns:
        (B, T, 3, S, S).
    """
    context = frames.shape[1]
    predicted, state = model(frames, actions[:, :context])
    found = [predicted[:, -1:]]
    for step in range(context, context + horizon - 1):
        predicted, state = model(found[-1].clamp(0, 1), actions[:, step : step + 1], state)
        found.append(predicted)
    return torch.cat(found, dim=1)


def persistence(frames: Tensor, context: int) -> Tensor:
    """(B, K + T, 3, S, S) -> (B, T, 3, S, S): the true frame before each."""
    return frames[:, context - 1 : -1]


def freeze(frames: Tensor, context: int) -> Tensor:
    """(B, K + T, 3, S, S) -> (B, T, 3, S, S): the last frame of the context."""
    return frames[:, context - 1 : context].expand_as(frames[:, context:])


def frame_mse(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error of each frame, (..., 3, S, S) -> (...), in squared pixel values."""
    return (prediction - truth).square().mean(dim=(-3, -2, -1))


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of frames with this error, in dB: ``-10 log10(MSE)``."""
    return -10 * mse.log10()


def ssim(prediction: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) of each frame, (..., 3, S, S) -> (...); 1 if equal.

    Gaussian window of standard deviation 1.5, as published.
    """
    shape = prediction.shape[:-3]
    found = structural_similarity_index_measure(
        prediction.flatten(0, -4), truth.flatten(0, -4), data_range=1.0, reduction="none"
    )
    assert isinstance(found, Tensor)
    return found.view(shape)


def skill(error: float, baseline: float) -> float:
    """``1 - error / baseline``: 1 for no error, 0 for that of the baseline, negative for worse."""
    return 1 - error / baseline
