"""Mean and standard deviation of the TRAIN split, and back."""

from dataclasses import dataclass

import numpy as np

from datasets.errors import InputError


@dataclass(frozen=True)
class Standardizer:
    """``standard = (value - mean) / std``; both in the unit of the value."""

    mean: float
    std: float

    @classmethod
    def of(cls, train: np.ndarray) -> "Standardizer":
        """Fits on the training values, shape (n,), and on nothing else.

        Raises:
            InputError: If the values are constant: there is nothing to learn.
        """
        if np.ptp(train) == 0:
            raise InputError(f"the target is constant ({train[0]:g}) on the train split")
        return cls(float(train.mean()), float(train.std()))
