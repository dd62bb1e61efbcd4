"""Regression metrics: pure functions of prediction and target, both of shape (n,)."""

from torch import Tensor


def mse(prediction: Tensor, target: Tensor) -> float:
    """Mean squared error, in the square of the target's unit."""
    return float(((prediction - target) ** 2).mean(dim=0))


def mae(prediction: Tensor, target: Tensor) -> float:
    """Mean absolute error, in the target's unit."""
    return float((prediction - target).abs().mean(dim=0))


def r2(prediction: Tensor, target: Tensor) -> float:
    """Coefficient of determination, 1 - SS_res / SS_tot, about the mean of `target` itself.

    Dimensionless: 1 for a perfect fit, 0 for predicting the target's own mean, negative for worse.

    Raises:
        ValueError: If the target is constant, for which R² is undefined.
    """
    if bool((target == target[0]).all()):
        raise ValueError(f"R² is undefined: all {len(target)} targets equal {float(target[0]):g}")
    total = ((target - target.mean(dim=0)) ** 2).sum(dim=0)
    return float(1 - ((prediction - target) ** 2).sum(dim=0) / total)
