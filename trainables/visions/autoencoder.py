"""A vision by an autoencoder, variational (Kingma and Welling 2014, as in Ha and Schmidhuber 2018)
or with neither noise nor prior.

Shapes in this module: frames N, pixels on a side S, numbers of a code Z.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from datasets.recordings import CHANNELS
from trainables.fit import SupervisedLearner
from trainables.models.frame_decoders import Drawing
from trainables.models.frame_encoders import encoder
from trainables.visions.codes import TOGETHER, Codes
from trainables.visions.vision import (
    Frames,
    History,
    Vision,
    VisionSettings,
    trained_by,
)

PIXELS = 64 * 64 * 3
"""Pixels over which the squared errors of a frame are summed, whatever its size, so that a weight
of the prior means what it means in Ha and Schmidhuber 2018."""

SAMPLES = 256
"""Number of frames that are drawn from the prior to see how far they lie apart."""

QUIETEST, LOUDEST = -10.0, 4.0
"""Bounds of the logarithm of a variance."""


class Autoencoder(Codes):
    """An encoder to a Gaussian of codes, and a decoder; a code is the mean.

    Args:
        code: Number of numbers of a code, Z.
        size: Pixels on a side of a frame, S.
    """

    def __init__(self, code: int, size: int) -> None:
        super().__init__(code)
        self.encoder, features = encoder("convolutional", CHANNELS, size)
        self.gaussian = nn.Linear(features, 2 * code)
        self.decoder = Drawing(code, size, CHANNELS)

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Computes mean and logarithm of the variance of the codes of frames, (N, Z) each."""
        mean, log_variance = self.gaussian(self.encoder(frames)).chunk(2, dim=1)
        return mean, log_variance.clamp(QUIETEST, LOUDEST)

    def raw(self, frames: Tensor) -> Tensor:
        return self.posterior(frames)[0]

    def drawn(self, codes: Tensor) -> Tensor:
        return self.decoder(codes).sigmoid()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Computes the Kullback-Leibler divergence of Gaussians, (N, Z) each, from the standard one,
    in nats, (N,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


def sampled(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Draws codes from Gaussians by noise of the standard one, (N, Z) each."""
    return mean + (log_variance / 2).exp() * noise


def diversity(model: Autoencoder, frames: Tensor) -> float:
    """Computes how far frames lie apart that are drawn from the prior: the mean squared difference
    of two of them, as a share of that of two true frames; 0 where all are the same.

    Args:
        model: The autoencoder.
        frames: True frames, (N, 3, S, S) uint8, of which some are taken.
    """
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(SAMPLES, len(model.center), generator=generator).to(frames.device)
    places = torch.linspace(0, len(frames) - 1, SAMPLES).long().to(frames.device)
    true, drawn = frames[places].float() / 255, model.drawn(codes)
    return float(_spread(drawn) / _spread(true))


def _spread(frames: Tensor) -> Tensor:
    """Returns the mean squared difference of a pixel of two frames; half of it is the variance."""
    return 2 * frames.var(dim=0).mean()


class CodingTask:
    """The `trainables.fit.Task` that fits an autoencoder, variational or not, to frames.

    The loss is the squared error of a frame, summed over `PIXELS`, plus `beta` times the
    divergence of its codes from the standard Gaussian, divided by `PIXELS`.

    Args:
        frames: The frames.
        code: Number of numbers of a code.
        beta: Weight of the divergence; None: codes are not sampled, and have no prior.
        batch_size: Number of frames in one optimiser step.
    """

    def __init__(self, frames: Frames, code: int, beta: float | None, batch_size: int) -> None:
        self.frames = frames
        self.code = code
        self.beta = beta
        self.batch_size = batch_size

    def model(self) -> nn.Module:
        return Autoencoder(self.code, self.frames.train.shape[-1])

    def steps_per_epoch(self) -> int:
        return -(-len(self.frames.train) // self.batch_size)

    def training_batches(
        self, model: nn.Module, generator: torch.Generator, epoch: int
    ) -> Iterator[Tensor]:
        del model, epoch
        train = self.frames.train
        order = torch.randperm(len(train), generator=generator).to(train.device)
        return (train[part].float() / 255 for part in order.split(self.batch_size))

    def heaviest_batch(self, model: nn.Module) -> Tensor:
        """Returns a whole batch."""
        del model
        return self.frames.train[: self.batch_size].float() / 255

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        assert isinstance(model, Autoencoder)
        mean, log_variance = model.posterior(batch)
        if self.beta is None:
            return (model.drawn(mean) - batch).square().mean()
        drawn = model.drawn(sampled(mean, log_variance, torch.randn_like(mean)))
        prior = self.beta * divergence(mean, log_variance).mean()
        return (drawn - batch).square().mean() + prior / PIXELS

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Autoencoder)
        return reconstruction(model, self.frames.validation, self.beta is not None)


@torch.no_grad()
def reconstruction(model: Autoencoder, frames: Tensor, has_prior: bool) -> dict[str, float]:
    """Scores reconstructions from the means of codes: mean squared error of a pixel, from 0 to 1,
    and, if codes have a prior, divergence from it, in nats a frame, and `diversity`.

    Args:
        model: The autoencoder.
        frames: (N, 3, S, S) uint8.
        has_prior: Whether the codes were trained towards the standard Gaussian.
    """
    error, nats = 0.0, 0.0
    for part in frames.split(TOGETHER):
        batch = part.float() / 255
        mean, log_variance = model.posterior(batch)
        error += float((model.drawn(mean) - batch).square().mean()) * len(part)
        nats += float(divergence(mean, log_variance).sum())
    found = {"validation/reconstruction_mse": error / len(frames)}
    if has_prior:
        found["validation/divergence"] = nats / len(frames)
        found["validation/diversity"] = diversity(model, frames)
    return found


def train(model: Codes, settings: VisionSettings, frames: Frames) -> History:
    """Trains an autoencoder without a prior; see `trainables.visions.vision.Vision`."""
    return _trained(model, settings, frames, None)


def train_with_prior(model: Codes, settings: VisionSettings, frames: Frames) -> History:
    """Trains a variational autoencoder; see `trainables.visions.vision.Vision`."""
    return _trained(model, settings, frames, settings.beta)


def _trained(
    model: Codes, settings: VisionSettings, frames: Frames, beta: float | None
) -> History:
    task = CodingTask(frames, settings.code, beta, settings.fit.batch_size)
    learner = SupervisedLearner(task, settings.fit, frames.train.device)
    return trained_by(learner, model, settings.fit.epochs)


AUTOENCODER = Vision("autoencoder", Autoencoder, train)
VAE = Vision("VAE", Autoencoder, train_with_prior, has_prior=True)
