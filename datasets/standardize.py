"""Standardisation by mean and standard deviation of the train split."""

from dataclasses import dataclass

import numpy as np

from datasets.errors import InputError


@dataclass(frozen=True)
class Standardizer:
    """Mean and standard deviation, in the unit of the value: ``standard = (value - mean) /
    std``."""

    mean: float
    std: float

    @classmethod
    def of(cls, train: np.ndarray) -> "Standardizer":
        """Computes mean and standard deviation of the training values, shape (n,).

        Raises:
            InputError: If the values are constant, so that there is nothing to learn.
        """
        if np.ptp(train) == 0:
            raise InputError(f"the target is constant ({train[0]:g}) on the train split")
        return cls(float(train.mean()), float(train.std()))
