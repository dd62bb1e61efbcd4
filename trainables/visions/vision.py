"""Describes kinds of vision as data.

Modules of `trainables.visions` define one or two each.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datasets.driving import Drives
from datasets.tensors import as_tensor
from trainables.config import FitConfig
from trainables.learner import Learner
from trainables.visions.codes import Codes


@dataclass(frozen=True)
class Frames:
    """The frames of some drives.

    Attributes:
        train: Of the train episodes, (N, 3, S, S) uint8.
        validation: Of the validation episodes, (M, 3, S, S) uint8.
    """

    train: Tensor
    validation: Tensor

    @classmethod
    def of(cls, drives: Drives, device: torch.device) -> "Frames":
        """Returns the frames of recorded drives on a device."""
        recordings = drives.recordings
        chosen = [
            np.concatenate(
                [recordings.frames[slice(*recordings.offsets[e : e + 2])] for e in episodes]
            )
            for episodes in (drives.split.train, drives.split.validation)
        ]
        return cls(*(as_tensor(frames, device) for frames in chosen))


@dataclass(frozen=True)
class VisionSettings:
    """What a vision depends on, besides the frames.

    Attributes:
        name: Its kind.
        code: Number of numbers of a code.
        beta: Weight of the prior; 0 where there is none.
        gan_weight: Weight of the discriminator's judgement; 0 without a discriminator.
        feature_level: Layer of the discriminator whose features are compared; 0 without one.
        fit: Of its training.
    """

    name: str
    code: int
    beta: float
    gan_weight: float
    feature_level: int
    fit: FitConfig


History = list[dict[str, float]]
"""Metrics of each epoch of a training, by name."""


@dataclass(frozen=True)
class Vision:
    """A kind of vision.

    Attributes:
        title: Its name in figures and tables.
        make: Function that makes the network, which is not trained, from the number of numbers of
            a code and the pixels on a side of a frame.
        train: Function that trains the network on frames, on their device; returns the metrics of
            each of the epochs of `VisionSettings.fit`, or none if there are none to tell: by
            convention ``validation/reconstruction_mse`` if the vision draws frames, and
            ``validation/diversity`` if it has a prior, see `autoencoder.reconstruction`. It may
            raise `trainables.learner.Diverged`.
        has_prior: Whether its codes have a prior, of which frames can be drawn.
        has_discriminator: Whether a discriminator judges what it draws.
    """

    title: str
    make: Callable[[int, int], Codes]
    train: Callable[[Codes, VisionSettings, Frames], History]
    has_prior: bool = False
    has_discriminator: bool = False


def trained_by(learner: Learner, model: Codes, epochs: int) -> History:
    """Trains by a learner for so many epochs and loads into a network what came of it; returns the
    metrics of each epoch.

    Raises:
        Diverged: If the training diverges.
    """
    history = [learner.advance(epoch) for epoch in range(1, epochs + 1)]
    model.load_state_dict(learner.snapshot().model)
    return history
