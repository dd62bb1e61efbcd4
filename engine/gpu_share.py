"""How many trials share a GPU.

A training step here is small: most of its time goes into launching it, which the CPU does, so that
a GPU with one trial idles most of the time, and one with several works for all of them.
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
"""Trials that share a GPU at most. Each has a CUDA context of some 0.5 GiB, and of what a GPU does
in a second ever less is left to one more. NVIDIA's MPS serves up to 48 processes."""

UNMEASURED = 4
"""Trials that share a GPU at most where it was not measured what they take of its memory."""

USED = 0.9
"""Part of a GPU's memory that trials are meant to fill: allocators leave gaps."""

PARTS = 10_000
"""Of a resource in Ray, which counts in them."""


def trials_a_gpu(gpus: float) -> int:
    """How many trials of such a share fit on one GPU: counted in Ray's own smallest part, as
    1 // 0.1 is 9."""
    return PARTS // max(1, round(PARTS * gpus))


@dataclass(frozen=True)
class GPUShare:
    """As many trials a GPU as its memory and the cores beside it allow.

    Attributes:
        cores: Of a machine, for each of its GPUs.
        cpus: Cores of a trial.
        needed_gib: What the largest configuration takes that one GPU can train (`needed_gib`).
            Larger ones, if there are any, run out of memory and are tried again alone at the end.
            None: not measured.
        card_gib: Memory of a GPU.
    """

    cores: float
    cpus: int
    needed_gib: float | None
    card_gib: float

    @property
    def trials(self) -> int:
        """How many share a GPU."""
        fit = UNMEASURED
        if self.needed_gib:
            fit = math.floor(USED * self.card_gib / self.needed_gib)
        return max(1, min(int(self.cores // self.cpus), fit, MOST_TRIALS))

    @property
    def gpus(self) -> float:
        """The share of one, rounded down to what Ray counts in."""
        return PARTS // self.trials / PARTS

    def text(self) -> str:
        """The share and its reasons, in a line."""
        shared = f"{self.trials} trials share a GPU" if self.trials > 1 else "a trial has a GPU"
        cores = f"{self.cores:g} cores for each GPU"
        if not self.needed_gib:
            return f"{shared}: {cores}; {UNMEASURED} at most, as their memory was not measured"
        return f"{shared}: {self.needed_gib:.1f} of {self.card_gib:.1f} GiB each at most, {cores}"


def needed_gib(profiled: Iterable[ProfileResult]) -> float | None:
    """GiB that the largest configuration takes of those that one GPU can train; None if there is
    none."""
    return max((each.memory_gib for each in profiled if not each.problem), default=None)


def usable_gpus(notify: Callable[[str], None]) -> int:
    """GPUs of this machine that torch can use. It counts them by what the driver says, which may
    be too old for it: that is said in a line."""
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
    """GPUs of a trial before it is known what it takes: as asked for, else a whole one.

    Args:
        asked: As an option, see `engine.options.Share`.
        there: GPUs of a machine.
        words: Say whose, before their number.

    Raises:
        InputError: If there are fewer than asked for.
    """
    if asked == "auto":
        return 1.0 if there else 0.0
    if asked > there:
        raise InputError(
            f"--gpus-per-trial {asked:g}: {words} {there} GPUs that torch can use; leave the "
            "option out to train on the CPU"
        )
    return asked
