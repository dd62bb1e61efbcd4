"""A vision by principal components.

Shapes in this module: frames N, pixels on a side S, numbers of a code Z.
"""

import torch
from torch import Tensor

from datasets.recordings import CHANNELS
from trainables.visions.codes import Codes
from trainables.visions.vision import (
    Frames,
    History,
    Vision,
    VisionSettings,
)

MOST = 8192
"""Number of frames of which principal components are computed, at most."""


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
        found.fit(frames.flatten(1).double().cpu().numpy())
        self.mean.copy_(torch.from_numpy(found.mean_))
        self.components.copy_(torch.from_numpy(found.components_))

    def raw(self, frames: Tensor) -> Tensor:
        return (frames.flatten(1) - self.mean) @ self.components.T

    def drawn(self, codes: Tensor) -> Tensor:
        size = round((len(self.mean) / CHANNELS) ** 0.5)
        pixels = codes @ self.components + self.mean
        return pixels.view(-1, CHANNELS, size, size).clamp(0, 1)


def train(model: Codes, settings: VisionSettings, frames: Frames) -> History:
    """Computes the components, all at once; see `trainables.visions.vision.Vision`."""
    assert isinstance(model, PrincipalComponents)
    model.fit(frames.train[:: -(-len(frames.train) // MOST)].float() / 255)
    unseen = frames.validation.float() / 255
    error = (model.drawn(model.raw(unseen)) - unseen).square().mean()
    return [{"validation/reconstruction_mse": float(error)}] * settings.fit.epochs


PCA = Vision("principal components", PrincipalComponents, train)
