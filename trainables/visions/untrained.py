"""A vision that is not trained.

Shapes in this module: frames N, pixels on a side S, numbers of a code Z.
"""

from torch import Tensor, nn

from datasets.recordings import CHANNELS
from trainables.models.frame_encoders import encoder
from trainables.visions.codes import Codes
from trainables.visions.vision import Frames, History, Vision, VisionSettings


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


def train(model: Codes, settings: VisionSettings, frames: Frames) -> History:
    """Leaves the network as it is; see `trainables.visions.vision.Vision`."""
    del model, settings, frames
    return []


RANDOM = Vision("untrained encoder", RandomEncoder, train)
