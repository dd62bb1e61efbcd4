"""Decides how many trials share a GPU.

The training steps here are small: most of their time is kernel launches on the CPU, so a GPU with
one trial is idle most of the time, and several trials can share it.
"""

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from datasets.errors import InputError
from engine.options import Share
from trainables.profile import ProfileResult

MOST_TRIALS = 16
"""Maximum number of trials on a GPU.

Each has a CUDA context of about 0.5 GiB, and each further trial adds less throughput. NVIDIA's MPS
serves up to 48 processes.
"""

UNMEASURED = 4
"""Maximum number of trials on a GPU if their memory usage was not measured."""

USED = 0.9
"""Fraction of a GPU's memory that trials may fill; the rest allows for fragmentation."""

PARTS = 10_000
"""Number of the smallest units in one resource: Ray counts resources in ten-thousandths."""


def trials_a_gpu(gpus: float) -> int:
    """Returns how many trials that need this fraction of a GPU fit on one.

    The fraction is counted in Ray's smallest unit, because 1 // 0.1 is 9 in floating point.
    """
    return PARTS // max(1, round(PARTS * gpus))


@dataclass(frozen=True)
class GPUShare:
    """The number of trials per GPU, limited by its memory and by the CPU cores per GPU.

    Attributes:
        cores: CPU cores of a machine divided by its number of GPUs.
        cpus: CPU cores of a trial.
        needed_gib: Memory of the largest profiled configuration that fits on one GPU, in GiB (see
            the function `needed_gib`). Larger configurations run out of memory and are retried
            alone at the end. None if it was not measured.
        card_gib: Memory of a GPU, in GiB.
    """

    cores: float
    cpus: int
    needed_gib: float | None
    card_gib: float

    @property
    def trials(self) -> int:
        """Number of trials that share a GPU, 1 to `MOST_TRIALS`."""
        fit = UNMEASURED
        if self.needed_gib:
            fit = math.floor(USED * self.card_gib / self.needed_gib)
        return max(1, min(int(self.cores // self.cpus), fit, MOST_TRIALS))

    @property
    def gpus(self) -> float:
        """Fraction of a GPU for each trial, rounded down to Ray's smallest unit."""
        return PARTS // self.trials / PARTS

    def text(self) -> str:
        """Returns one line for the user with the share and its reasons."""
        shared = f"{self.trials} trials share a GPU" if self.trials > 1 else "a trial has a GPU"
        cores = f"{self.cores:g} cores for each GPU"
        if not self.needed_gib:
            return f"{shared}: {cores}; {UNMEASURED} at most, as their memory was not measured"
        return f"{shared}: {self.needed_gib:.1f} of {self.card_gib:.1f} GiB each at most, {cores}"


def needed_gib(profiled: Iterable[ProfileResult]) -> float | None:
    """Returns the memory of the largest configuration that could be trained, in GiB.

    Returns None if no configuration could be trained.
    """
    return max((each.memory_gib for each in profiled if not each.problem), default=None)


def usable_gpus(notify: Callable[[str], None]) -> int:
    """Returns the number of this machine's GPUs that torch can use.

    If there are GPUs that torch cannot use, for example because the driver is too old, it notifies
    the user and returns 0.
    """
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return torch.cuda.device_count()
    if there := torch.cuda.device_count():
        words = [str(each.message).split(". ")[0].split(": ", 1)[-1] for each in warned]
        reason = f" ({words[0]})" if words else ""
        notify(
            f"this machine has {there} GPU{'s' * (there > 1)} that torch cannot use{reason}: "
            "trials train on the CPU; --gpus-per-trial 0 says that this is meant"
        )
    return 0


def first_share(asked: Share, there: int, words: str) -> float:
    """Returns the GPUs of a trial before profiling: as requested, or one whole GPU if available.

    Args:
        asked: Value of ``--gpus-per-trial``, see `engine.options.Share`.
        there: Number of GPUs of a machine.
        words: Start of the error message, which the number of GPUs follows.

    Raises:
        InputError: If fewer GPUs are available than requested.
    """
    if asked == "auto":
        return 1.0 if there else 0.0
    if asked > there:
        raise InputError(
            f"--gpus-per-trial {asked:g}: {words} {there} GPUs that torch can use; leave the "
            "option out to train on the CPU"
        )
    return asked
