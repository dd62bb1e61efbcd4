"""Dropout by random bits: the share, the mean, the gradient, and what is drawn."""

import pytest
import torch

from trainables.dropout import dropped


@pytest.mark.parametrize("share", [0.001, 0.2, 0.5, 0.8, 0.999])
@pytest.mark.parametrize("shape", [(400_003,), (1000, 401)])
def test_elements_are_left_out_with_the_given_probability(
    share: float, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    x = dropped(torch.ones(shape), share)
    left_out = float((x == 0).double().mean())
    expected = round(share * 2**16) / 2**16
    assert abs(left_out - expected) < 5 * (share * (1 - share) / x.numel()) ** 0.5
    assert x.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)])


def test_a_share_near_one_leaves_out_nearly_all() -> None:
    torch.manual_seed(0)
    assert float((dropped(torch.ones(400_000), 0.999999) > 0).double().mean()) < 1e-3


def test_neighbours_are_left_out_independently() -> None:
    torch.manual_seed(0)
    kept = (dropped(torch.ones(400_000), 0.5) > 0).double()
    for distance in (1, 2, 3, 4, 8):
        both = (kept[distance:] * kept[:-distance]).mean()
        assert abs(float(both) - 0.25) < 0.005


def test_the_gradient_is_of_what_was_kept() -> None:
    x = torch.ones(1000, requires_grad=True)
    found = dropped(x, 0.5)
    found.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, found.detach())


def test_the_same_seed_leaves_out_the_same_and_no_share_draws_nothing() -> None:
    x = torch.ones(100)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert dropped(x, 0.0) is x
    assert torch.equal(torch.get_rng_state(), state)
    one = dropped(x, 0.3)
    torch.manual_seed(1)
    assert torch.equal(dropped(x, 0.3), one)
