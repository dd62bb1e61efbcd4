"""Arrays that many processes share, as tensors."""

import warnings

import numpy as np
import torch
from torch import Tensor


def as_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor on a device; on the CPU it shares the array's memory.

    Ray's object store and memory maps are read-only and torch, which has no read-only tensors,
    warns of it: nothing may write into what this returns.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
