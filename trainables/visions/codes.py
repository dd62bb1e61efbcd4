"""Base of what makes codes of a few numbers of frames, and frames of codes.

Frames are float32 from 0 to 1 in three planes. Shapes in this module: frames N, pixels on a side
S, numbers of a code Z.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

LEAST_SPREAD = 0.1
"""Least standard deviation that a number of a code is divided by, as a share of the largest: what
hardly varies is not to be blown up."""

TOGETHER = 1024
"""Number of frames that are coded in one batch; it does not change the codes."""


class Codes(nn.Module, ABC):
    """Base of the networks that see: shifts and scales the numbers of their codes, so that they
    are about 0 and of about the same size.

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
