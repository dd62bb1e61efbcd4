"""Encoders of a world model: they compress a frame, or a frame and its change, to features.

Shapes in this module: frames N, planes P, pixels on a side S.
"""

from itertools import pairwise
from typing import Literal

from torch import nn

from trainables.models.frame_decoders import COARSEST, MAPS, sides
from trainables.models.patches import ChannelsLast, Patches

Encoder = Literal["flatten", "convolutional"]

SEEN_MAPS = 16
"""Number of maps at the coarsest level, the input of the core."""


def encoder(name: Encoder, planes: int, size: int) -> tuple[nn.Module, int]:
    """Makes an encoder, (N, P, S, S) -> (N, features); returns it and the number of features."""
    if name == "flatten":
        return nn.Flatten(), planes * size**2
    patches = sides(size)
    widths = (planes, *(MAPS,) * (len(patches) - 1), SEEN_MAPS)
    layers: list[nn.Module] = [ChannelsLast()]
    for side, (before, after) in zip(patches, pairwise(widths), strict=True):
        layers += [Patches(before, after, side), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten()), SEEN_MAPS * COARSEST**2
