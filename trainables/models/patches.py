"""Convolutions whose kernel is as wide as their stride, implemented as linear layers on patches.

The patches do not overlap, as at the input of the vision transformer (Dosovitskiy et al. 2021), so
that each convolution is one matrix product. For the small frames here this is several times as
fast on a CPU as overlapping convolutions, and as accurate.

Shapes in this module: pictures N, height H, width W, feature maps C before and D after, side of a
patch K.
"""

from torch import Tensor, nn


class Patches(nn.Module):
    """Equivalent of ``Conv2d(C, D, K, stride=K)`` with channels last.

    Args:
        before: Number of input maps C.
        after: Number of output maps D.
        side: Pixels on a side of a patch, K.
    """

    def __init__(self, before: int, after: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.linear = nn.Linear(before * side**2, after)

    def forward(self, maps: Tensor) -> Tensor:
        """Computes one row of D maps for each patch.

        Args:
            maps: (N, H, W, C); K divides H and W.

        Returns:
            (N, H / K, W / K, D).
        """
        pictures, height, width, _ = maps.shape
        rows, columns = height // self.side, width // self.side
        split = maps.reshape(pictures, rows, self.side, columns, self.side, -1).transpose(2, 3)
        return self.linear(split.reshape(pictures, rows, columns, -1))


class Unpatches(nn.Module):
    """Equivalent of ``ConvTranspose2d(C, D, K, stride=K)`` with channels last.

    Unlike there, each pixel of a patch has its own bias.

    Args:
        before: Number of input maps C.
        after: Number of output maps D.
        side: Pixels on a side of a patch, K.
    """

    def __init__(self, before: int, after: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.linear = nn.Linear(before, after * side**2)

    def forward(self, maps: Tensor) -> Tensor:
        """Expands each pixel to a patch of K x K pixels, (N, H, W, C) -> (N, H K, W K, D)."""
        pictures, height, width, _ = maps.shape
        split = self.linear(maps).view(pictures, height, width, self.side, self.side, -1)
        whole = (pictures, height * self.side, width * self.side, -1)
        return split.transpose(2, 3).reshape(whole)


class ChannelsLast(nn.Module):
    """Moves the channels from the second axis to the last one."""

    def forward(self, planes: Tensor) -> Tensor:
        """Returns a view, (N, C, H, W) -> (N, H, W, C)."""
        return planes.permute(0, 2, 3, 1)


class ChannelsFirst(nn.Module):
    """Moves the channels from the last axis to the second one."""

    def forward(self, maps: Tensor) -> Tensor:
        """Returns a view, (N, H, W, C) -> (N, C, H, W)."""
        return maps.permute(0, 3, 1, 2)
