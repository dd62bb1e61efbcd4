"""Dreams that go on in the middle of long ones."""

from typing import get_args

import pytest
import torch
from moving_stripes import striped_drives
from torch import nn

from datasets.driving import Drives
from trainables.dreams import OLDEST, Moments, dreamt, joined, replayed
from trainables.models.world_model import Core, WorldModel, WorldModelConfig
from trainables.rollout import CONTEXT, autoregressive

FREE = 4


@pytest.fixture(scope="module")
def drives() -> Drives:
    return striped_drives()


def moments_of(lengths: list[int], count: int = 400, free_steps: int = FREE) -> Moments:
    sizes = torch.tensor(lengths)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(dim=0)[:-1]])
    return Moments.drawn(offsets, sizes, free_steps, count, torch.Generator().manual_seed(0))


def tensors(drives: Drives) -> tuple[torch.Tensor, torch.Tensor]:
    recordings = drives.recordings
    return torch.tensor(recordings.frames), torch.tensor(recordings.actions)


def model_of(core: Core = "builtin") -> nn.Module:
    torch.manual_seed(0)
    config = WorldModelConfig(
        core=core, hidden=16, window=5, change_input=True, age_conditioning="film"
    )
    model = WorldModel(config, 32)
    for parameter in [*model.decoder.parameters(), *model.film.parameters()]:  # pyright: ignore[reportOptionalMemberAccess]
        nn.init.normal_(parameter, std=0.05)
    return model


def test_moments_are_of_all_ages_at_which_a_dream_can_go_on() -> None:
    """An episode of 20 frames: 10 of context, 4 free steps, so that ages are 1 to 6."""
    found = moments_of([20])
    assert {*found.ages.tolist()} == {1, 2, 3, 4, 5, 6}
    assert found.ages.tolist() == sorted(found.ages.tolist(), reverse=True)
    for start, age in zip(found.starts.tolist(), found.ages.tolist(), strict=True):
        assert 0 <= start <= 20 - CONTEXT - age - FREE
    assert {*found.starts[found.ages == 1].tolist()} == {0, 1, 2, 3, 4, 5}


def test_moments_lie_within_one_episode_and_too_short_ones_have_none() -> None:
    found = moments_of([14, 40, 13, 17])
    episodes = {14: 54, 67: 84}  # first frame -> end, of those of at least 15 frames
    for start, age in zip(found.starts.tolist(), found.ages.tolist(), strict=True):
        begin = max(first for first in episodes if first <= start)
        assert start + CONTEXT + age + FREE <= episodes[begin]


def test_half_of_the_long_dreams_begin_with_their_episode() -> None:
    found = moments_of([1_000])
    assert 0.4 < (found.starts == 0).double().mean() < 0.6
    assert len({*found.starts.tolist()}) > 100


def test_no_moment_is_older_than_what_is_judged() -> None:
    assert int(moments_of([1_000]).ages.max()) == OLDEST


@pytest.mark.parametrize("core", get_args(Core))
def test_a_replayed_dream_goes_on_as_the_whole_one_does(drives: Drives, core: Core) -> None:
    frames, actions = tensors(drives)
    model = model_of(core)
    moments = moments_of([40] * 12, count=9)
    dreams = replayed(model, frames, actions, moments, FREE)
    found = dreamt(model, dreams)
    assert dreams.age.tolist() == moments.ages.tolist()
    for place, (start, age) in enumerate(
        zip(moments.starts.tolist(), moments.ages.tolist(), strict=True)
    ):
        steps = actions[None, start : start + CONTEXT + age + FREE]
        context = frames[None, start : start + CONTEXT].float() / 255
        whole = autoregressive(model, context, steps, age + FREE)
        torch.testing.assert_close(found[place], whole[0, age:], rtol=1e-4, atol=1e-5)
        ahead = slice(start + CONTEXT + age, start + CONTEXT + age + FREE)
        torch.testing.assert_close(dreams.truth[place], frames[ahead].float() / 255)


def test_gradients_end_where_a_replayed_dream_goes_on(drives: Drives) -> None:
    model = model_of()
    dreams = replayed(model, *tensors(drives), moments_of([40] * 12, count=3), FREE)
    assert not any(part.requires_grad for part in (dreams.frames, *dreams.state))
    dreamt(model, dreams).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_parts_of_dreams_join_to_the_whole(drives: Drives) -> None:
    dreams = replayed(model_of(), *tensors(drives), moments_of([40] * 12, count=5), FREE)
    again = joined([dreams.part(slice(2)), dreams.part(torch.tensor([2, 3, 4]))])
    assert len(again) == len(dreams) == 5
    for name in ("frames", "age", "actions", "truth"):
        assert torch.equal(getattr(again, name), getattr(dreams, name))
    for found, expected in zip(again.state, dreams.state, strict=True):
        assert torch.equal(found, expected)
