"""Normalisation of node features where some rows may be no nodes."""

from typing import Literal

from torch import Tensor, nn

Normalization = Literal["none", "batch", "layer"]


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the rows that are nodes; `nn.BatchNorm1d` where all are."""

    def forward(self, x: Tensor, there: Tensor | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(N, W), which rows are nodes (N,) bool or None -> (N, W), anything where no node is."""
        if there is None or not self.training:
            return super().forward(x)
        rows, count = there[:, None], there.sum(dim=0)
        wide = x.to(self.weight.dtype)  # whatever autocast made of it
        mean = (wide * rows).sum(dim=0) / count
        apart = wide - mean
        squared = (apart * rows).square().sum(dim=0)
        self._follow(mean.detach(), squared.detach() / (count - 1).clamp(min=1))
        scaled = apart * (squared / count + self.eps).rsqrt()
        return (scaled * self.weight + self.bias).to(x.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Takes the statistics of a batch into the running ones."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def normalized(norm: nn.Module, x: Tensor, there: Tensor | None) -> Tensor:
    """Normalises by any kind of norm: (N, W), which rows are nodes (N,) bool or None -> (N, W)."""
    return norm(x, there) if isinstance(norm, MaskedBatchNorm) else norm(x)


def norm_of(kind: Normalization, width: int) -> nn.Module:
    """Makes a norm of node features (N, W)."""
    if kind == "batch":
        return MaskedBatchNorm(width)
    return nn.LayerNorm(width) if kind == "layer" else nn.Identity()
