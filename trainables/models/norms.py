"""Normalisation of node features where some rows may be padding."""

from typing import Literal

from torch import Tensor, nn

Normalization = Literal["none", "batch", "layer"]


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the rows that are nodes; equals `nn.BatchNorm1d` if all are."""

    def forward(self, x: Tensor, there: Tensor | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Normalises node features.

        Args:
            x: Node features, (N, W).
            there: Mask of the rows that are nodes, (N,) bool; None: all rows are.

        Returns:
            (N, W), with arbitrary values in padding rows.
        """
        if there is None or not self.training:
            return super().forward(x)
        rows, count = there[:, None], there.sum(dim=0)
        wide = x.to(self.weight.dtype)  # autocast may have made it half precision
        mean = (wide * rows).sum(dim=0) / count
        apart = wide - mean
        squared = (apart * rows).square().sum(dim=0)
        self._follow(mean.detach(), squared.detach() / (count - 1).clamp(min=1))
        scaled = apart * (squared / count + self.eps).rsqrt()
        return (scaled * self.weight + self.bias).to(x.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Updates the running statistics with those of a batch, (W,) each."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def normalized(norm: nn.Module, x: Tensor, there: Tensor | None) -> Tensor:
    """Applies a layer made by `norm_of`.

    Args:
        norm: Normalisation layer.
        x: Node features, (N, W).
        there: Mask of the rows that are nodes, (N,) bool; None: all rows are.

    Returns:
        (N, W), with arbitrary values in padding rows.
    """
    return norm(x, there) if isinstance(norm, MaskedBatchNorm) else norm(x)


def norm_of(kind: Normalization, width: int) -> nn.Module:
    """Makes a normalisation layer of node features, (N, W) -> (N, W); apply it by `normalized`."""
    if kind == "batch":
        return MaskedBatchNorm(width)
    return nn.LayerNorm(width) if kind == "layer" else nn.Identity()
