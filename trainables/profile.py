"""What a trial of a configuration will take."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from datasets.errors import InputError, described
from datasets.machine import memory_left
from record.trial import Searched
from trainables import checkpoint
from trainables.config import TrialConfig
from trainables.device import (
    card_gib,
    give_back_memory,
    memory_gib,
    pick_device,
    ran_out_of_memory,
)
from trainables.learner import check_learner
from trainables.problem import Context, Problem


@dataclass(frozen=True)
class ProfileResult:
    """What a trial of a configuration takes, or why it cannot be trained.

    Attributes:
        epoch_seconds: An epoch, with its evaluation.
        memory_gib: On a GPU its peak memory, context included; on a CPU what the process holds,
            imports and data included.
        checkpoint_bytes: A checkpoint on the disk.
        problem: Why it cannot be trained; empty if it can.
        no_room: Whether that is for want of memory.
        card_gib: Memory of the GPU that it ran on; 0 on a CPU.
    """

    epoch_seconds: float = 0.0
    memory_gib: float = 0.0
    checkpoint_bytes: int = 0
    problem: str = ""
    no_room: bool = False
    card_gib: float = 0.0


def profile(config: TrialConfig, problem: Problem[Any], cpus: int, gpus: float) -> ProfileResult:
    """Begins a trial, probes it, saves a checkpoint and loads it again.

    Args:
        config: What to try.
        problem: What it learns from.
        cpus: Cores of a trial.
        gpus: Its share of a GPU.

    Returns:
        What it took, or the problem.
    """
    device = pick_device(gpus, cpus)
    if device.type == "cuda":
        give_back_memory(device)
        torch.cuda.reset_peak_memory_stats(device)
    try:
        learner = problem.learner(config, Searched(0), Context(device, cpus))
        check_learner(learner)
        probe = learner.probe()
        with tempfile.TemporaryDirectory() as folder:
            checkpoint.save(Path(folder), checkpoint.state_of(probe.snapshot, asdict(config), ()))
            checkpoint.load(Path(folder))
            size = (Path(folder) / checkpoint.FILE).stat().st_size
        card = card_gib() if device.type == "cuda" else 0.0
        return ProfileResult(probe.epoch_seconds, memory_gib(device), size, card_gib=card)
    except Exception as error:
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        words = kind + described(error)
        return ProfileResult(problem=words, no_room=ran_out_of_memory(error))


def room_gib(gpus: float, trials: int) -> float:
    """Memory that there is for each of some trials at once; GiB of a GPU or of what this
    process may use of its machine."""
    return gpus * card_gib() if gpus > 0 else memory_left() / trials / 2**30
