"""Records where the processor waits for a real GPU, with the interface of `pretended_gpu`.

torch's synchronisation debug mode reports the waits: copies, and operations whose result, or its
shape, the processor needs. Operations that mix devices are not recorded, because they raise.
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
    """Record of the waits for a GPU.

    Attributes:
        mixed: Always empty; exists because `PretendedGPU` has it.
        waits: Lines at which the processor waited.
    """

    def __init__(self) -> None:
        self.mixed: list[str] = []
        self.waits: list[str] = []

    def note(self, message: Warning | str, *_: Any, **__: Any) -> None:
        """Records a warning of torch; replaces `warnings.showwarning`."""
        assert WAITS in str(message), message
        self.waits.append(f"something at {whose_line()}")


def skip_without_one() -> None:
    """Skips the current test if the machine has no GPU."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")


@contextmanager
def real_gpu() -> Iterator[RealGPU]:
    """Sets up the machine's GPU as for a trial, and yields the record of waits for it."""
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
