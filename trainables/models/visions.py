"""What a controller sees of a frame: a code of a few numbers, by several kinds of vision.

- vae: a variational autoencoder (Kingma and Welling 2014), as in Ha and Schmidhuber 2018.
- vaegan: one whose reconstructions are compared by the features of a discriminator, against which
  its decoder is trained (Larsen et al. 2016).
- autoencoder: the same network without noise and without a prior.
- pca: principal components.
- random: an encoder that is not trained.

Frames are float32 from 0 to 1 in three planes. Shapes in this module: frames N, pixels on a side
S, numbers of a code Z.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from datasets.recordings import CHANNELS
from trainables.models.frame_decoders import Drawing
from trainables.models.frame_encoders import encoder

VisionName = Literal["vae", "vaegan", "autoencoder", "pca", "random"]

LEAST_SPREAD = 0.1
"""Least standard deviation that a number of a code is divided by, as a share of the largest: what
hardly varies is not to be blown up."""

QUIETEST, LOUDEST = -10.0, 4.0
"""Bounds of the logarithm of a variance."""


class Codes(nn.Module, ABC):
    """Base of a vision: shifts and scales the numbers of its codes, so that they are about 0 and
    of about the same size.

    Args:
        code: Number of numbers of a code, Z.
    """

    center: Tensor
    spread: Tensor

    def __init__(self, code: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(code))
        self.register_buffer("spread", torch.ones(code))

    @abstractmethod
    def raw(self, frames: Tensor) -> Tensor:
        """Computes codes before they are shifted and scaled, (N, 3, S, S) -> (N, Z)."""
        ...

    @abstractmethod
    def drawn(self, codes: Tensor) -> Tensor | None:
        """Draws frames of codes that are not shifted and scaled, (N, Z) -> (N, 3, S, S); None if
        this vision draws nothing."""
        ...

    def forward(self, frames: Tensor) -> Tensor:
        """Computes codes, (N, 3, S, S) -> (N, Z)."""
        return (self.raw(frames) - self.center) / self.spread

    def reconstructed(self, codes: Tensor) -> Tensor | None:
        """Draws the frames of codes, (N, Z) -> (N, 3, S, S); None if this vision draws nothing."""
        return self.drawn(codes * self.spread + self.center)

    def standardize(self, codes: Tensor) -> None:
        """Chooses shift and scale by the codes of some frames, (N, Z), before these."""
        std = codes.std(dim=0)
        self.center.copy_(codes.mean(dim=0))
        self.spread.copy_(std.clamp(min=LEAST_SPREAD * float(std.max())).clamp(min=1e-6))


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


class PrincipalComponents(Codes):
    """The first principal components of some frames.

    Args:
        code: Number of components, Z.
        size: Pixels on a side of a frame, S.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, code: int, size: int) -> None:
        super().__init__(code)
        self.register_buffer("mean", torch.zeros(CHANNELS * size**2))
        self.register_buffer("components", torch.zeros(code, CHANNELS * size**2))

    def fit(self, frames: Tensor) -> None:
        """Computes the components of frames, (N, 3, S, S), N of at least as many as these."""
        from sklearn.decomposition import PCA  # slow to import, and needed here only

        found = PCA(len(self.components), svd_solver="randomized", random_state=0)
        found.fit(frames.flatten(1).double().numpy())
        self.mean.copy_(torch.from_numpy(found.mean_))
        self.components.copy_(torch.from_numpy(found.components_))

    def raw(self, frames: Tensor) -> Tensor:
        return (frames.flatten(1) - self.mean) @ self.components.T

    def drawn(self, codes: Tensor) -> Tensor:
        size = round((len(self.mean) / CHANNELS) ** 0.5)
        pixels = codes @ self.components + self.mean
        return pixels.view(-1, CHANNELS, size, size).clamp(0, 1)


class RandomEncoder(Codes):
    """An encoder with the weights that it was made with, which draws nothing.

    Args:
        code: Number of numbers of a code, Z.
        size: Pixels on a side of a frame, S.
    """

    def __init__(self, code: int, size: int) -> None:
        super().__init__(code)
        self.encoder, features = encoder("convolutional", CHANNELS, size)
        self.linear = nn.Linear(features, code)

    def raw(self, frames: Tensor) -> Tensor:
        return self.linear(self.encoder(frames))

    def drawn(self, codes: Tensor) -> None:
        del codes


def vision(name: VisionName, code: int, size: int) -> Codes:
    """Makes a vision that is not trained.

    Args:
        name: Its kind.
        code: Number of numbers of a code.
        size: Pixels on a side of a frame.
    """
    if name == "pca":
        return PrincipalComponents(code, size)
    if name == "random":
        return RandomEncoder(code, size)
    return Autoencoder(code, size)


class Discriminator(nn.Module):
    """Tells true frames from drawn ones, by convolutions of patches.

    Args:
        size: Pixels on a side of a frame, S.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        layers, features = encoder("convolutional", CHANNELS, size)
        assert isinstance(layers, nn.Sequential)
        self.layers = layers
        self.judge = nn.Linear(features, 1)

    def features(self, frames: Tensor, level: int) -> Tensor:
        """Computes the feature maps after so many layers of patches, counted from 1, flattened,
        (N, features)."""
        seen = frames
        for layer in self.layers:
            seen = layer(seen)
            if isinstance(layer, nn.ReLU):
                level -= 1
            if level == 0:
                break
        return seen.flatten(1)

    def forward(self, frames: Tensor) -> Tensor:
        """Computes the logit of being true, (N, 3, S, S) -> (N,)."""
        return self.judge(self.layers(frames)).squeeze(dim=1)
