"""Wraps read-only shared arrays as tensors."""

import warnings

import numpy as np
import torch
from torch import Tensor


def as_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """Returns an array as a tensor on a device; on the CPU it shares the array's memory.

    The tensor must not be written to: arrays in Ray's object store and memory maps are read-only,
    and torch has no read-only tensors. Its warning about that is suppressed.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
