"""A vision by an autoencoder trained against a discriminator: a VAE-GAN (Larsen et al. 2016, arXiv
1512.09300).

In each step the discriminator learns to tell true frames from reconstructed ones and from ones
that are drawn of the prior. The autoencoder then learns that its reconstructions have the
discriminator's features of the true frames, and its decoder that the discriminator takes what it
draws for true. Three things differ from the paper: errors of features are shares of their
variance, times that of the pixels, so that a weight of the prior means what it does without a
discriminator; the decoder's loss is the non-saturating one; and true frames count as true by 0.9
(Salimans et al. 2016), so that the discriminator stays unsure.
"""

import time
from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from datasets.recordings import CHANNELS
from trainables.config import FitConfig
from trainables.learner import Diverged, Probe, Snapshot
from trainables.visions.autoencoder import (
    PIXELS,
    Autoencoder,
    divergence,
    reconstruction,
    sampled,
)
from trainables.visions.codes import Codes
from trainables.visions.vision import Frames, History, Vision, VisionSettings, trained_by

TRUE = 0.9
"""What the discriminator learns to say of a true frame."""

LAST_SIDE, FIRST_MAPS, SLOPE = 8, 16, 0.2
"""Side of the discriminator's last maps, number of its first ones, which doubles with each
convolution, and slope of its leaky rectifiers below 0 (Radford et al. 2016)."""

MOMENTUM = 0.5
"""First moment's decay of both optimisers, lower than usual (Radford et al. 2016)."""


class Discriminator(nn.Module):
    """Tells true frames from drawn ones, by convolutions that halve the side down to `LAST_SIDE`.

    They overlap: features of patches side by side would leave the patches' edges unjudged, and the
    decoder draws a grid there.

    Args:
        size: Pixels on a side of a frame, S.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        sides = [size >> level for level in range(1, (size // LAST_SIDE).bit_length())]
        widths = [CHANNELS, *(FIRST_MAPS << level for level in range(len(sides)))]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE))
            for before, after in pairwise(widths)
        )
        self.judge = nn.Linear(widths[-1] * sides[-1] ** 2, 1)

    def features(self, frames: Tensor, level: int) -> Tensor:
        """Computes the feature maps after so many convolutions, counted from 1, flattened,
        (N, features)."""
        for layer in self.layers[:level]:
            frames = layer(frames)
        return frames.flatten(1)

    def forward(self, frames: Tensor) -> Tensor:
        """Computes the logit of being true, (N, 3, S, S) -> (N,)."""
        return self.judge(self.features(frames, len(self.layers))).squeeze(dim=1)


class AdversarialLearner:
    """The `trainables.learner.Learner` that trains a VAE-GAN.

    Args:
        frames: The frames.
        code: Number of numbers of a code.
        beta: Weight of the divergence, see `trainables.visions.autoencoder.CodingTask`.
        gan_weight: Weight of the discriminator's judgement in the decoder's loss.
        level: After how many layers of the discriminator features are compared, from 1.
        config: Learning rate, batch size and seed.
    """

    def __init__(
        self,
        frames: Frames,
        code: int,
        beta: float,
        gan_weight: float,
        level: int,
        config: FitConfig,
    ) -> None:
        self.frames, self.config = frames, config
        self.beta, self.gan_weight, self.level = beta, gan_weight, level
        device, size = frames.train.device, frames.train.shape[-1]
        with torch.random.fork_rng([]):
            torch.manual_seed(config.seed)
            self.model = Autoencoder(code, size).to(device).eval()  # no layer depends on the mode
            self.discriminator = Discriminator(size).to(device)
        self.optimizers = [
            torch.optim.AdamW(
                part.parameters(),
                lr=config.learning_rate,
                betas=(MOMENTUM, 0.999),
                weight_decay=config.weight_decay,
            )
            for part in (self.model, self.discriminator)
        ]
        self.random = torch.Generator().manual_seed(config.seed)
        some = frames.train[:: -(-len(frames.train) // 1000)].float() / 255
        self.variance = float(some.var(dim=0).mean())

    @property
    def evaluator(self) -> nn.Module:
        """The autoencoder."""
        return self.model

    def advance(self, epoch: int) -> dict[str, float]:
        """Makes one pass over the train frames, and scores reconstructions.

        Raises:
            Diverged: If a loss is not finite.
        """
        begun = time.perf_counter()
        train = self.frames.train
        order = torch.randperm(len(train), generator=self.random).to(train.device)
        losses = torch.stack(
            [self._step(train[part]) for part in order.split(self.config.batch_size)]
        ).mean(dim=0)
        if not torch.isfinite(losses).all():
            raise Diverged(f"losses {losses.tolist()} in epoch {epoch}")
        seconds = time.perf_counter() - begun
        return {
            **reconstruction(self.model, self.frames.validation, has_prior=True),
            "train/loss": float(losses[0]),
            "train/discriminator_loss": float(losses[1]),
            "train/seconds": seconds,
        }

    def _step(self, pixels: Tensor) -> Tensor:
        """Updates both networks; returns both losses, (2,)."""
        true = pixels.float() / 255
        mean, log_variance = self.model.posterior(true)
        codes = sampled(mean, log_variance, self._noise(mean))
        again = self.model.drawn(codes)
        # To draw true-looking frames is the decoder's aim alone: the codes are taken as given.
        drawn = self.model.drawn(torch.cat([codes.detach(), self._noise(mean)]))

        judged = self.discriminator(torch.cat([true, drawn.detach()]))
        wanted = torch.zeros_like(judged)
        wanted[: len(true)] = TRUE
        telling = binary_cross_entropy_with_logits(judged, wanted)
        _update(self.optimizers[1], telling)

        error = self._feature_error(true, again)
        prior = self.beta * divergence(mean, log_variance).mean() / PIXELS
        judged = self.discriminator(drawn)
        fooling = binary_cross_entropy_with_logits(judged, torch.ones_like(judged))
        loss = error + prior + self.gan_weight * self.variance * fooling
        _update(self.optimizers[0], loss)
        return torch.stack([loss.detach(), telling.detach()])

    def _feature_error(self, true: Tensor, again: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.discriminator.features(true, self.level)
            scale = self.variance / wanted.var(dim=0).mean().clamp(min=1e-8)
        found = self.discriminator.features(again, self.level)
        return scale * (found - wanted).square().mean()

    def _noise(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.random).to(like.device)

    def snapshot(self) -> Snapshot:
        """Copies networks, optimisers and random generator into a snapshot."""
        training = {
            "discriminator": deepcopy(self.discriminator.state_dict()),
            "optimizers": [deepcopy(each.state_dict()) for each in self.optimizers],
            "random": self.random.get_state(),
        }
        return Snapshot(deepcopy(self.model.state_dict()), training)

    def restore(self, snapshot: Snapshot) -> None:
        """Restores networks, optimisers and random generator from a snapshot."""
        training: Mapping[str, Any] = snapshot.training
        self.model.load_state_dict(snapshot.model)
        self.discriminator.load_state_dict(training["discriminator"])
        for optimizer, state in zip(self.optimizers, training["optimizers"], strict=True):
            optimizer.load_state_dict(deepcopy(state))
        self.random.set_state(training["random"])

    def probe(self) -> Probe:
        """Estimates the duration of an epoch from a timed step; evaluation is left out."""
        batch = self.frames.train[: self.config.batch_size]
        self._step(batch)
        begun = time.perf_counter()
        self._step(batch)
        steps = -(-len(self.frames.train) // self.config.batch_size)
        return Probe((time.perf_counter() - begun) * steps, self.snapshot())


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def train(model: Codes, settings: VisionSettings, frames: Frames) -> History:
    """Trains an autoencoder against a discriminator; see `trainables.visions.vision.Vision`."""
    learner = AdversarialLearner(
        frames,
        settings.code,
        settings.beta,
        settings.gan_weight,
        settings.feature_level,
        settings.fit,
    )
    return trained_by(learner, model, settings.fit.epochs)


VAEGAN = Vision("VAE-GAN", Autoencoder, train, has_prior=True, has_discriminator=True)
