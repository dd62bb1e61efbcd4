"""Rollouts of a linear system made by hand, and the errors of pictures made by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from trainables.rollout import (
    autoregressive,
    frame_mse,
    freeze,
    persistence,
    psnr,
    skill,
    ssim,
    teacher_forced,
)

CONTEXT, HORIZON, SIZE = 3, 5, 16
DECAY, PUSH, MEMORY = 0.5, 0.125, 0.03125  # predictions stay below 1


class Linear(nn.Module):
    """next = DECAY * frame + PUSH * throttle + MEMORY * sum of all throttles before."""

    def forward(
        self,
        frames: Tensor,
        actions: Tensor,
        state: Tensor | None = None,
        age: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        del age
        before = torch.zeros(len(frames)) if state is None else state
        throttle = actions[:, :, 1]
        sums = throttle.cumsum(dim=1) + before[:, None]
        push = PUSH * throttle + MEMORY * (sums - throttle)
        return DECAY * frames + push[:, :, None, None, None], sums[:, -1]


def drive() -> tuple[Tensor, Tensor]:
    """Two sequences, (2, CONTEXT + HORIZON, ...), of arbitrary numbers."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(2, CONTEXT + HORIZON, 3, SIZE, SIZE, generator=generator)
    return frames, torch.rand(2, CONTEXT + HORIZON, 3, generator=generator)


def push(actions: Tensor, step: int) -> Tensor:
    """What the actions add to the frame after a step, from all of them since the first."""
    throttle = actions[:, :, 1]
    return (PUSH * throttle[:, step] + MEMORY * throttle[:, :step].sum(dim=1))[:, None, None, None]


def test_teacher_forcing_predicts_each_frame_from_the_true_one_before() -> None:
    frames, actions = drive()
    found = teacher_forced(Linear(), frames, actions, CONTEXT)
    assert found.shape == (2, HORIZON, 3, SIZE, SIZE)
    for horizon in range(HORIZON):
        step = CONTEXT + horizon - 1
        expected = DECAY * frames[:, step] + push(actions, step)
        torch.testing.assert_close(found[:, horizon], expected)


def test_an_autoregressive_rollout_predicts_each_frame_from_its_own_prediction() -> None:
    frames, actions = drive()
    found = autoregressive(Linear(), frames[:, :CONTEXT], actions, HORIZON)
    assert found.shape == (2, HORIZON, 3, SIZE, SIZE)
    expected = frames[:, CONTEXT - 1]
    for horizon in range(HORIZON):
        expected = DECAY * expected + push(actions, CONTEXT + horizon - 1)
        torch.testing.assert_close(found[:, horizon], expected)


def test_an_autoregressive_rollout_sees_no_frame_after_the_context() -> None:
    """And of the actions only those before the last frame."""
    frames, actions = drive()
    expected = autoregressive(Linear(), frames[:, :CONTEXT], actions, HORIZON)
    actions[:, CONTEXT + HORIZON - 1 :] = torch.nan
    found = autoregressive(Linear(), frames[:, :CONTEXT], actions, HORIZON)
    assert torch.equal(found, expected)


def test_the_first_frame_is_the_same_in_both_ways() -> None:
    frames, actions = drive()
    forced = teacher_forced(Linear(), frames, actions, CONTEXT)
    free = autoregressive(Linear(), frames[:, :CONTEXT], actions, 1)
    torch.testing.assert_close(forced[:, :1], free)


def test_the_baselines_are_frames_of_the_drive() -> None:
    frames, _ = drive()
    assert torch.equal(persistence(frames, CONTEXT), frames[:, CONTEXT - 1 : -1])
    for horizon in range(HORIZON):
        assert torch.equal(freeze(frames, CONTEXT)[:, horizon], frames[:, CONTEXT - 1])


def test_errors_of_pictures_made_by_hand() -> None:
    truth = torch.zeros(2, 3, SIZE, SIZE)
    picture = truth.clone()
    picture[1, :, :8] = 0.2  # half of the pixels, each off by 0.2
    errors = frame_mse(picture, truth)
    torch.testing.assert_close(errors, torch.tensor([0.0, 0.02]))
    assert float(psnr(errors[1])) == pytest.approx(-10 * math.log10(0.02))
    assert psnr(errors[0]) == math.inf
    assert skill(0.02, 0.08) == 0.75


def test_structural_similarity_of_an_equal_a_noisy_and_an_inverted_picture() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 4, 3, SIZE, SIZE, generator=generator)
    torch.testing.assert_close(ssim(truth, truth), torch.ones(2, 4))
    noisy = (truth + 0.2 * torch.randn(truth.shape, generator=generator)).clamp(0, 1)
    found = ssim(noisy, truth)
    assert found.shape == (2, 4)
    assert ((found > 0.5) & (found < 0.99)).all()
    assert (ssim(1 - truth, truth) < 0).all()


def test_structural_similarity_of_flat_pictures_is_the_formula_s() -> None:
    """Without variance it is (2 x y + c) / (x² + y² + c) with c = 0.01² (Wang et al. 2004)."""
    one, other = torch.full((1, 3, SIZE, SIZE), 0.5), torch.full((1, 3, SIZE, SIZE), 0.7)
    expected = (2 * 0.5 * 0.7 + 1e-4) / (0.25 + 0.49 + 1e-4)
    assert float(ssim(one, other)[0]) == pytest.approx(expected, abs=1e-5)


def test_a_rollout_feeds_back_what_is_a_frame() -> None:
    """A model that doubles what it sees is fed 1 at most, and may still predict more; it learns
    how old it is."""

    class Doubles(nn.Module):
        def forward(
            self,
            frames: Tensor,
            actions: Tensor,
            state: Tensor | None = None,
            age: Tensor | None = None,
        ) -> tuple[Tensor, None]:
            ages.append(None if age is None else age.tolist())
            return 2 * frames, None

    ages: list[object] = []
    frames = torch.full((1, 1, 3, SIZE, SIZE), 0.375)
    found = autoregressive(Doubles(), frames, torch.zeros(1, 4, 3), 4)
    assert found[0, :, 0, 0, 0].tolist() == [0.75, 1.5, 2.0, 2.0]
    assert ages == [None, [[1.0]], [[2.0]], [[3.0]]]
