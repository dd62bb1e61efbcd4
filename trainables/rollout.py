"""Rollouts of a world model over a drive, and measures of their error.

A rollout first sees some true frames, the context, and then predicts frame after frame, always
with the true actions. A teacher-forced rollout makes each prediction from the true previous frame,
an autoregressive one from the previous prediction. Horizon h is the h-th frame after the context.

Models are compared with three baselines that know nothing of driving: *persistence* copies the
true previous frame (teacher-forced), *freeze* keeps the last frame of the context
(autoregressive), *climatology* is the mean frame of the train split.

Shapes in this module: sequences B, context K, horizons T, pixels on a side S. Frames are float32
from 0 to 1.
"""

import torch
from torch import Tensor, nn

CONTEXT = 10
"""Number of context frames, K, of the rollouts that models are evaluated by."""

CACHED = 16
"""Number of frames of 32x32 pixels whose structural similarities are computed at once: many more
leave a processor's cache, which takes four times as long. It does not change them."""


def teacher_forced(model: nn.Module, frames: Tensor, actions: Tensor, context: int) -> Tensor:
    """Predicts each frame after the context from the true previous frame.

    Args:
        model: A `trainables.models.world_model.WorldModel`, or a module called like one.
        frames: True frames, (B, K + T, 3, S, S).
        actions: True actions, (B, at least K + T - 1, 3); later ones are ignored.
        context: Number of context frames K, at least 1.

    Returns:
        Predicted frames, (B, T, 3, S, S).
    """
    predicted, _ = model(frames[:, :-1], actions[:, : frames.shape[1] - 1])
    return predicted[:, context - 1 :]


def autoregressive(model: nn.Module, frames: Tensor, actions: Tensor, horizon: int) -> Tensor:
    """Predicts the frames after the context, each from the previous prediction.

    Predictions are clipped to 0 to 1, the range of frames, before they are fed back; a rollout
    could else diverge.

    Args:
        model: A `trainables.models.world_model.WorldModel`, or a module called like one.
        frames: Frames of the context, (B, K, 3, S, S).
        actions: True actions, (B, at least K + T - 1, 3).
        horizon: Number of frames to predict T, at least 1.

    Returns:
        Predicted frames, (B, T, 3, S, S), not clipped.
    """
    context = frames.shape[1]
    predicted, state = model(frames, actions[:, :context])
    found = [predicted[:, -1:]]
    for step in range(context, context + horizon - 1):
        age = frames.new_full((len(frames), 1), step + 1 - context)
        seen = found[-1].clamp(0, 1)
        predicted, state = model(seen, actions[:, step : step + 1], state, age)
        found.append(predicted)
    return torch.cat(found, dim=1)


def persistence(frames: Tensor, context: int) -> Tensor:
    """Predicts each frame as a copy of the true previous one.

    Args:
        frames: True frames, (B, K + T, 3, S, S).
        context: Number of context frames K, at least 1.

    Returns:
        (B, T, 3, S, S).
    """
    return frames[:, context - 1 : -1]


def freeze(frames: Tensor, context: int) -> Tensor:
    """Predicts each frame as a copy of the context's last one.

    Args:
        frames: True frames, (B, K + T, 3, S, S).
        context: Number of context frames K, at least 1.

    Returns:
        (B, T, 3, S, S).
    """
    return frames[:, context - 1 : context].expand_as(frames[:, context:])


def frame_mse(prediction: Tensor, truth: Tensor) -> Tensor:
    """Returns the mean squared error of each frame, (..., 3, S, S) -> (...), for pixels 0 to 1."""
    return (prediction - truth).square().mean(dim=(-3, -2, -1))


def psnr(mse: Tensor) -> Tensor:
    """Converts mean squared errors, for pixels from 0 to 1, to the peak signal-to-noise ratio in
    dB, ``-10 log10(MSE)``."""
    return -10 * mse.log10()


def ssim(prediction: Tensor, truth: Tensor) -> Tensor:
    """Returns the structural similarity (Wang et al. 2004) of each frame; 1 for equal frames.

    The window is a Gaussian of standard deviation 1.5, as in the paper. Shapes: (..., 3, S, S) for
    each argument, (...) for the result.
    """
    from torchmetrics.functional import image  # takes a second, of every process of every study

    found = []
    for one, other in zip(
        prediction.flatten(0, -4).split(CACHED), truth.flatten(0, -4).split(CACHED), strict=True
    ):
        similar = image.structural_similarity_index_measure(
            one, other, data_range=1.0, reduction="none"
        )
        assert isinstance(similar, Tensor)
        found.append(similar.view(len(one)))
    return torch.cat(found).view(prediction.shape[:-3])


def skill(error: float, baseline: float) -> float:
    """Returns ``1 - error / baseline``: 1 for a perfect prediction, 0 for one as good as the
    baseline, negative for a worse one."""
    return 1 - error / baseline
