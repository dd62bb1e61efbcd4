"""Decoders of a world model: they make the next frame from the core's output and the last frame.

Shapes in this module: frames N, hidden H, pixels on a side S, planes P.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from datasets.recordings import CHANNELS
from trainables.models.patches import ChannelsFirst, Unpatches

FINEST, COARSEST = 4, 4
"""Side of a patch of the frame, in pixels, and side of the coarsest feature map, in patches."""

MAPS = 32
"""Number of feature maps of the convolutional layers."""

FARTHEST = 4.0
"""Bound of each number of an affine motion; half of it moves a pixel across the whole frame."""

BLUR = 3
"""Side, in pixels, of the square of the local mean used to sharpen a frame."""

MOVED = 2.0
"""Initial logit of the moved frame in the warp decoder; those of its other pictures are 0."""


def sides(size: int) -> tuple[int, ...]:
    """Returns the sides of the patches of all layers, from the frame to the coarsest map."""
    halvings = (size // (FINEST * COARSEST)).bit_length() - 1
    return (FINEST, *(2,) * halvings)


class LinearDecoder(nn.Module):
    """A decoder of one linear layer, as in the homework; its pixels are not limited to 0 to 1."""

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        self.draw = nn.Linear(hidden, CHANNELS * size**2)

    def forward(self, hidden: Tensor, last: Tensor) -> Tensor:
        """Computes the next frames.

        Args:
            hidden: Output of the core, (N, H).
            last: Last frames, (N, 3, S, S), used for their shape only.

        Returns:
            (N, 3, S, S).
        """
        return self.draw(hidden).view_as(last)


class ConvolutionalDecoder(nn.Module):
    """A decoder of transposed convolutions and a sigmoid."""

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        self.draw = Drawing(hidden, size, CHANNELS)

    def forward(self, hidden: Tensor, last: Tensor) -> Tensor:
        """Computes the next frames, (N, 3, S, S), from the core's output (N, H); the last frames
        are not used."""
        del last
        return self.draw(hidden).sigmoid()


class WarpDecoder(nn.Module):
    """A decoder that mixes the moved last frame, the unmoved last frame and a newly drawn frame.

    The shares of the pictures are predicted for each pixel, and a residual is added. The camera
    follows the car, so that the whole ground moves by one affine map (as in the spatial
    transformer of Jaderberg et al. 2015, and, with several maps, in Finn et al. 2016). The car and
    the dashboard do not move, and ground that comes into view has to be drawn. Moving by a
    fraction of a pixel interpolates and so blurs the frame, which is therefore sharpened by
    unsharp masking: the difference from its local mean is added with a predicted factor for each
    pixel.

    Args:
        hidden: Width of the core's output, H.
        size: Pixels on a side of a frame, S.
    """

    still: Tensor
    local: Tensor

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        # Logits of the three pictures, colours, residual, factor of the sharpening.
        self.planes = (3, CHANNELS, CHANNELS, 1)
        self.motion = nn.Linear(hidden, 6)
        nn.init.zeros_(self.motion.weight)
        nn.init.zeros_(self.motion.bias)
        self.draw = Drawing(hidden, size, sum(self.planes))
        self.register_buffer("still", torch.eye(2, 3), persistent=False)
        self.register_buffer("local", _local_mean(size), persistent=False)
        with torch.no_grad():
            self.draw.always[0] = MOVED

    def forward(self, hidden: Tensor, last: Tensor) -> Tensor:
        """Computes the next frames.

        Args:
            hidden: Output of the core, (N, H).
            last: Last frames, (N, 3, S, S).

        Returns:
            (N, 3, S, S), not limited to 0 to 1.
        """
        logits, colours, residual, sharpness = self.draw(hidden).split(self.planes, dim=1)
        moved = self._moved(hidden, last)
        moved = moved + sharpness * (moved - self.local @ moved @ self.local.T)
        moving, still, drawn = logits.softmax(dim=1).chunk(3, dim=1)  # (N, 1, S, S) each
        return moving * moved + still * last + drawn * colours.sigmoid() + residual

    def _moved(self, hidden: Tensor, last: Tensor) -> Tensor:
        # grid_sample crashes the process if a diverged model moves pixels to infinity.
        motion = self.motion(hidden).nan_to_num().clamp(-FARTHEST, FARTHEST)
        affine = self.still + motion.to(self.still.dtype).view(-1, 2, 3)
        # bfloat16 would round the coordinates of pixels to eight bits.
        with torch.autocast(last.device.type, enabled=False):
            grid = functional.affine_grid(affine, list(last.shape), align_corners=False)
            last = last.to(self.still.dtype)
            return functional.grid_sample(last, grid, padding_mode="border", align_corners=False)


def _local_mean(size: int) -> Tensor:
    """Returns the matrix M, (S, S), for which ``M F M^T`` is the local mean of a frame F.

    The mean is over the square of side `BLUR` around each pixel, as far as it lies in the frame.
    On a CPU, these products are several times as fast as pooling.
    """
    place = torch.arange(size)
    near = ((place[:, None] - place).abs() <= BLUR // 2).float()
    return near / near.sum(dim=1, keepdim=True)


class Drawing(nn.Module):
    """Draws planes of pixels from a vector, by transposed convolutions plus a learned constant.

    The constant picture does not depend on the vector, so that, for example, the place of the
    car need not be learned by the convolutions.

    Args:
        hidden: Width of the vector, H.
        size: Pixels on a side of a plane, S.
        planes: Number of planes, P.
    """

    def __init__(self, hidden: int, size: int, planes: int) -> None:
        super().__init__()
        patches = sides(size)[::-1]
        widths = (2 * MAPS, *(MAPS,) * (len(patches) - 1), planes)
        layers: list[nn.Module] = [
            nn.Linear(hidden, widths[0] * COARSEST**2),
            nn.Unflatten(1, (COARSEST, COARSEST, widths[0])),
        ]
        for side, (before, after) in zip(patches, pairwise(widths), strict=True):
            layers += [nn.ReLU(), Unpatches(before, after, side)]
        for parameter in layers[-1].parameters():
            nn.init.zeros_(parameter)  # at first, only the constant picture is drawn
        self.layers = nn.Sequential(*layers, ChannelsFirst())
        self.always = nn.Parameter(torch.zeros(planes, size, size))

    def forward(self, hidden: Tensor) -> Tensor:
        """Draws the planes of each vector, (N, H) -> (N, P, S, S), of unbounded values."""
        return self.layers(hidden) + self.always
