"""Autoencoders of frames, alone and against a discriminator."""

import numpy as np
import pytest
import torch
from learner_contract import Begin, LearnerContract
from moving_blocks import blocks
from torch.distributions import Normal, kl_divergence

from trainables.config import FitConfig
from trainables.fit import SupervisedLearner
from trainables.visions.autoencoder import (
    Autoencoder,
    CodingTask,
    divergence,
    diversity,
    sampled,
)
from trainables.visions.vaegan import AdversarialLearner
from trainables.visions.vision import Frames

CPU = torch.device("cpu")
QUICK = FitConfig(epochs=3, batch_size=16, learning_rate=3e-3)


def frames() -> Frames:
    return Frames.of(blocks(), CPU)


def coding(beta: float | None, config: FitConfig = QUICK) -> SupervisedLearner[torch.Tensor]:
    return SupervisedLearner(CodingTask(frames(), 4, beta, config.batch_size), config, CPU)


def adversarial(config: FitConfig = QUICK) -> AdversarialLearner:
    return AdversarialLearner(frames(), 4, 1.0, 0.03, 1, config)


class TestVariationalAutoencoder(LearnerContract):
    @pytest.fixture
    def begin(self) -> Begin:
        return lambda: coding(1.0)


class TestAdversarialLearner(LearnerContract):
    @pytest.fixture
    def begin(self) -> Begin:
        return adversarial


def test_the_frames_are_those_of_the_train_and_the_validation_episodes() -> None:
    drives = blocks()
    found = Frames.of(drives, CPU)
    assert len(found.train) == 4 * 40
    np.testing.assert_array_equal(found.train, drives.recordings.frames[:160])
    np.testing.assert_array_equal(found.validation, drives.recordings.frames[160:200])


def test_the_divergence_is_that_of_gaussians() -> None:
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    laws = Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(5, 3), torch.ones(5, 3))
    expected = kl_divergence(*laws).sum(dim=1)
    np.testing.assert_allclose(divergence(mean, log_variance), expected, rtol=1e-5)


def test_drawn_codes_have_the_mean_and_the_variance() -> None:
    noise = torch.randn((50_000, 2), generator=torch.Generator().manual_seed(0))
    drawn = sampled(torch.tensor([1.0, -2.0]), torch.tensor([0.0, -2.0]), noise)
    np.testing.assert_allclose(drawn.mean(dim=0), [1, -2], atol=0.02)
    np.testing.assert_allclose(drawn.var(dim=0), np.exp([0, -2]), rtol=0.03)


def test_frames_that_are_all_the_same_have_no_diversity() -> None:
    torch.manual_seed(0)
    model, seen = Autoencoder(4, 32), frames().train
    with torch.no_grad():
        assert diversity(model, seen) == pytest.approx(0, abs=1e-9)  # as at first it draws nothing


@pytest.mark.parametrize("beta", [None, 0.1])
def test_an_autoencoder_learns_to_draw_what_it_sees(beta: float | None) -> None:
    learner = coding(beta, FitConfig(epochs=20, batch_size=16, learning_rate=3e-3))
    found = [learner.advance(epoch)["validation/reconstruction_mse"] for epoch in range(1, 21)]
    assert found[-1] < 0.3 * found[0]


def test_a_heavy_prior_leaves_nothing_in_the_codes() -> None:
    light, heavy = (coding(beta) for beta in (0.01, 1e5))
    nats = [
        [each.advance(epoch)["validation/divergence"] for epoch in (1, 2, 3)][-1]
        for each in (light, heavy)
    ]
    assert nats[1] < 0.1 < nats[0]


def test_against_a_discriminator_it_learns_to_draw_without_collapse() -> None:
    learner = adversarial(FitConfig(epochs=20, batch_size=16, learning_rate=3e-3))
    found = [learner.advance(epoch) for epoch in range(1, 21)]
    errors = [each["validation/reconstruction_mse"] for each in found]
    assert errors[-1] < 0.6 * errors[0]
    assert found[-1]["validation/diversity"] > 0.1


def test_the_discriminator_does_not_learn_from_the_loss_of_the_autoencoder() -> None:
    learner = adversarial()
    learner.advance(1)
    before = [weights.clone() for weights in learner.discriminator.parameters()]
    learner.optimizers[1].param_groups[0]["lr"] = 0.0
    learner.advance(2)
    assert all(map(torch.equal, before, learner.discriminator.parameters()))
