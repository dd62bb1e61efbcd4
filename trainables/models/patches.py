"""Convolutions whose kernel is as wide as their stride, as linear layers on patches.

The patches do not overlap (Dosovitskiy et al. 2021 begin a transformer so), which makes each
convolution one matrix product: for the small frames here several times as fast on a CPU as a
convolution with overlap, and as good.

Shapes below: pictures N, height H and width W, maps C before and D after, side of a patch K.
"""

from torch import Tensor, nn


class Patches(nn.Module):
    """(N, H, W, C) -> (N, H/K, W/K, D): ``Conv2d(C, D, K, stride=K)`` with the maps last."""

    def __init__(self, before: int, after: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.linear = nn.Linear(before * side**2, after)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps H and W, which K divides."""
        pictures, height, width, _ = maps.shape
        rows, columns = height // self.side, width // self.side
        split = maps.reshape(pictures, rows, self.side, columns, self.side, -1).transpose(2, 3)
        return self.linear(split.reshape(pictures, rows, columns, -1))


class Unpatches(nn.Module):
    """(N, H, W, C) -> (N, H K, W K, D): ``ConvTranspose2d(C, D, K, stride=K)`` with the maps last,
    but for a bias of each pixel of a patch."""

    def __init__(self, before: int, after: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.linear = nn.Linear(before, after * side**2)

    def forward(self, maps: Tensor) -> Tensor:
        """Any maps."""
        pictures, height, width, _ = maps.shape
        split = self.linear(maps).view(pictures, height, width, self.side, self.side, -1)
        whole = (pictures, height * self.side, width * self.side, -1)
        return split.transpose(2, 3).reshape(whole)


class ChannelsLast(nn.Module):
    """(N, C, H, W) -> (N, H, W, C)."""

    def forward(self, planes: Tensor) -> Tensor:
        """A view."""
        return planes.permute(0, 2, 3, 1)


class ChannelsFirst(nn.Module):
    """(N, H, W, C) -> (N, C, H, W)."""

    def forward(self, maps: Tensor) -> Tensor:
        """A view."""
        return maps.permute(0, 3, 1, 2)
