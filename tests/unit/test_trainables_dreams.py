"""Dreams that go on in the middle of long ones."""

from typing import get_args

import pytest
import torch
from moving_stripes import striped_drives
from torch import nn

from datasets.driving import Drives
from trainables.dreams import FreeRun, Moments, dreams_at
from trainables.models.world_model import Core, WorldModel, WorldModelConfig
from trainables.rollout import CONTEXT, autoregressive

FREE = 4


@pytest.fixture(scope="module")
def drives() -> Drives:
    return striped_drives()


def moments_of(count: int = 400) -> Moments:
    """Of the first 30 frames of each of twelve episodes of 40 frames, 10 of them the context."""
    starts = torch.arange(0, 12 * 40, 40)
    return Moments.drawn(starts, 20 - FREE, count, torch.Generator().manual_seed(0))


def tensors(drives: Drives) -> tuple[torch.Tensor, torch.Tensor]:
    recordings = drives.recordings
    return torch.tensor(recordings.frames), torch.tensor(recordings.actions)


def free_run(model: nn.Module, drives: Drives, moments: Moments) -> FreeRun:
    recorded = tensors(drives)
    return dreams_at(model, *recorded, moments).free_run(*recorded, FREE)


def model_of(core: Core = "builtin") -> nn.Module:
    torch.manual_seed(0)
    config = WorldModelConfig(core=core, hidden=16, window=5, change_input=True, age_input=True)
    model = WorldModel(config, 32)
    for parameter in model.decoder.parameters():
        nn.init.normal_(parameter, std=0.05)
    return model


def test_moments_are_of_all_dreams_and_of_all_ages_at_which_one_can_go_on() -> None:
    found = moments_of()
    assert {*found.ages.tolist()} == {*range(20 - FREE + 1)}
    assert found.ages.tolist() == sorted(found.ages.tolist())
    assert {*found.starts.tolist()} == {*range(0, 12 * 40, 40)}
    assert found.dream.bincount().tolist() == [4] * 100
    assert {*found.dream[found.ages == 0].tolist()} == {*range(100)}  # each one's beginning
    assert len({*found.starts[found.dream[found.ages == 0]].tolist()}) > 1


@pytest.mark.parametrize("core", get_args(Core))
def test_a_dream_goes_on_from_a_moment_as_the_whole_one_does(drives: Drives, core: Core) -> None:
    frames, actions = tensors(drives)
    model = model_of(core)
    moments = moments_of(count=9)
    run = free_run(model, drives, moments)
    found = run.predicted(model)
    assert run.dreams.age.tolist() == moments.ages.tolist()
    for place, (start, age) in enumerate(
        zip(moments.starts[moments.dream].tolist(), moments.ages.tolist(), strict=True)
    ):
        steps = actions[None, start : start + CONTEXT + age + FREE]
        context = frames[None, start : start + CONTEXT].float() / 255
        whole = autoregressive(model, context, steps, age + FREE)
        torch.testing.assert_close(found[place], whole[0, age:], rtol=1e-4, atol=1e-5)
        ahead = slice(start + CONTEXT + age, start + CONTEXT + age + FREE)
        torch.testing.assert_close(run.truth[place], frames[ahead].float() / 255)


def test_gradients_end_where_a_dream_goes_on(drives: Drives) -> None:
    model = model_of()
    run = free_run(model, drives, moments_of(count=3))
    assert not any(part.requires_grad for part in (run.dreams.frames, *run.dreams.state))
    run.predicted(model).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_dream_of_age_0_begins_at_the_last_true_frame(drives: Drives) -> None:
    frames, actions = tensors(drives)
    moments = Moments(torch.tensor([40]), torch.tensor([0]), torch.tensor([0]))
    dreams = dreams_at(model_of(), frames, actions, moments)
    last = 40 + CONTEXT - 1
    assert torch.equal(dreams.frames, frames[None, last : last + 1].float() / 255)


def test_a_part_of_dreams_is_the_same_part_of_everything(drives: Drives) -> None:
    dreams = dreams_at(model_of(), *tensors(drives), moments_of(count=5))
    some = dreams.part(torch.tensor([3, 1]))
    assert len(dreams) == 5 and len(some) == 2
    for name in ("frames", "age", "number"):
        assert torch.equal(getattr(some, name), getattr(dreams, name)[[3, 1]])
    for found, whole in zip(some.state, dreams.state, strict=True):
        assert torch.equal(found, whole[:, [3, 1]])
