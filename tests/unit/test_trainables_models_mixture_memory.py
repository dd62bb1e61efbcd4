"""The memory's mixtures: their likelihood, and what is drawn of them."""

import numpy as np
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from trainables.models.mixture_memory import LOUDEST, QUIETEST, Mixture, MixtureMemory


def mixture(*shape: int) -> Mixture:
    generator = torch.Generator().manual_seed(0)
    logits, means, log_deviations = torch.randn((3, *shape), generator=generator)
    return Mixture(logits, means, log_deviations, torch.zeros(shape[:-2]))


def test_surprise_is_the_negative_log_likelihood() -> None:
    found = mixture(4, 2, 3, 5)
    codes = torch.randn((4, 2, 3), generator=torch.Generator().manual_seed(1))
    shares = Categorical(logits=found.logits)
    parts = Normal(found.means, found.log_deviations.exp())
    expected = -MixtureSameFamily(shares, parts).log_prob(codes)
    np.testing.assert_allclose(found.surprise(codes), expected, rtol=1e-5, atol=1e-6)


def test_what_is_drawn_has_the_moments_of_the_mixture() -> None:
    one = mixture(1, 2, 3)
    many = Mixture(*(each.expand(40_000, *each.shape[1:]) for each in vars(one).values()))
    drawn = many.sampled(1.0, torch.Generator().manual_seed(2))
    law = MixtureSameFamily(
        Categorical(logits=one.logits[0]), Normal(one.means[0], one.log_deviations[0].exp())
    )
    np.testing.assert_allclose(drawn.mean(dim=0), law.mean, atol=0.05)
    np.testing.assert_allclose(drawn.var(dim=0), law.variance, rtol=0.05)


def test_temperature_decides_how_far_drawn_codes_lie_apart() -> None:
    one = mixture(1, 2, 3)
    many = Mixture(*(each.expand(5000, *each.shape[1:]) for each in vars(one).values()))
    spreads = [
        float(many.sampled(heat, torch.Generator().manual_seed(3)).var(dim=0).sum())
        for heat in (0.0, 0.5, 1.0, 1.5)
    ]
    assert spreads[0] == 0
    assert spreads == sorted(spreads)


def test_at_temperature_0_the_likeliest_mean_is_drawn() -> None:
    one = mixture(7, 2, 3)
    drawn = one.sampled(0.0, torch.Generator())
    for row in range(7):
        for number in range(2):
            place = int(one.logits[row, number].argmax())
            assert drawn[row, number] == one.means[row, number, place]


def test_the_same_generator_draws_the_same() -> None:
    one = mixture(5, 2, 3)
    first, again = (one.sampled(1.0, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, again)


def test_a_memory_reads_step_by_step_as_at_once() -> None:
    torch.manual_seed(0)
    memory = MixtureMemory(code=2, hidden=8, mixtures=3)
    codes, actions = torch.randn(6, 4, 2), torch.randn(6, 4, 3)
    whole, end = memory(codes, actions)
    state, parts = None, []
    for step in range(6):
        output, state = memory(codes[step : step + 1], actions[step : step + 1], state)
        parts.append(output)
    np.testing.assert_allclose(torch.cat(parts).detach(), whole.detach(), atol=1e-6)
    assert state is not None
    np.testing.assert_allclose(state[0].detach(), end[0].detach(), atol=1e-6)
    found = memory.mixture(whole)
    assert found.means.shape == (6, 4, 2, 3)
    assert found.reward.shape == (6, 4)


def test_deviations_are_bounded() -> None:
    memory = MixtureMemory(code=2, hidden=8, mixtures=3)
    found = memory.mixture(1e6 * torch.randn(5, 8)).log_deviations
    assert float(found.detach().min()) == QUIETEST
    assert float(found.detach().max()) == LOUDEST
