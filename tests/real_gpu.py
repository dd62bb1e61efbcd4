"""A real GPU, where there is one, with notes as `pretended_gpu` takes them.

Where the processor waits for the GPU is told by torch, which sees copies, and operations whose
result, or its shape, the processor has to know. Operations that mix devices need no note: they
raise.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from pretended_gpu import whose_line

from trainables.device import pick_device

WAITS = "called a synchronizing CUDA operation"
UNFINISHED = "Synchronization debug mode is a prototype"


class RealGPU:
    """Notes of a GPU.

    Attributes:
        mixed: Nothing; as in `PretendedGPU`.
        waits: Places where the processor waited.
    """

    def __init__(self) -> None:
        self.mixed: list[str] = []
        self.waits: list[str] = []

    def note(self, message: Warning | str, *_: Any, **__: Any) -> None:
        """Stands for `warnings.showwarning`."""
        assert WAITS in str(message), message
        self.waits.append(f"something at {whose_line()}")


def skip_without_one() -> None:
    """Skips the test that runs now where there is no GPU."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")


@contextmanager
def real_gpu() -> Iterator[RealGPU]:
    """The machine's GPU, set up as for a trial, for as long as it lasts."""
    pick_device(gpus=1, cpus=1)
    gpu = RealGPU()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=UNFINISHED)
        warnings.filterwarnings("always", message=WAITS)
        warnings.showwarning = gpu.note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield gpu
        finally:
            torch.cuda.set_sync_debug_mode("default")
