"""Samples as tensors: what is taken for one, and how they are cut into batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from datasets.errors import InputError, described

WORDS = {"O": "objects", "S": "texts", "U": "texts", "M": "dates", "m": "durations"}
"""Numpy's kinds of what is no number."""


@dataclass(frozen=True)
class Samples:
    """Some samples: inputs (B, ...) and targets (B, ...)."""

    inputs: Tensor
    targets: Tensor

    def __getitem__(self, rows: Tensor) -> "Samples":
        """Some of them, (rows,) int64 on their device; copied."""
        return Samples(self.inputs[rows], self.targets[rows])

    def batches(self, rows: Tensor, size: int) -> Iterator["Samples"]:
        """Some of them, so many at a time."""
        return (self[rows[first : first + size]] for first in range(0, len(rows), size))


def numbers(name: str, values: Any, advice: str) -> np.ndarray:
    """Samples as an array, (samples, ...); floating ones are float32.

    Args:
        name: What they are, in the plural.
        values: An array, or what can be made one.
        advice: What to do where they are no numbers.

    Raises:
        InputError: If they are no array, no numbers or not finite.
    """
    array = _array(name, values)
    if array.dtype.kind not in "biufc":
        kind = WORDS.get(array.dtype.kind, str(array.dtype))
        raise InputError(f"{name} are {kind}: expected numbers; {advice}")
    if array.ndim == 0 or (len(array) and not array.size):
        raise InputError(f"{name} are of shape {array.shape}: expected (samples, ...)")
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
    _check_finite(name, array)
    return np.ascontiguousarray(array)


def _array(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} are no array ({described(error)}): expected one") from error


def _check_finite(name: str, array: np.ndarray) -> None:
    bad = ~np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
    if bad.any():
        raise InputError(
            f"{name} of {bad.sum()} of {len(array)} samples, the first one sample "
            f"{bad.argmax()}, are NaN or infinite: leave those samples out, or fill them in"
        )
