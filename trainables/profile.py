"""Measures the time, memory and disk space that a trial of a configuration needs."""

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
    """Measured cost of a trial of a configuration, or the reason why it cannot be trained.

    Attributes:
        epoch_seconds: Duration of an epoch, evaluation included.
        memory_gib: On a GPU, peak GPU memory with the CUDA context; on a CPU, resident memory of
            the process with imports and data; in GiB.
        checkpoint_bytes: Size of a checkpoint on the disk.
        problem: Reason why the configuration cannot be trained; empty if it can.
        no_room: Whether it cannot be trained because memory ran out.
        card_gib: Total memory of the GPU that was used, in GiB; 0 on a CPU.
    """

    epoch_seconds: float = 0.0
    memory_gib: float = 0.0
    checkpoint_bytes: int = 0
    problem: str = ""
    no_room: bool = False
    card_gib: float = 0.0


def profile(
    config: TrialConfig, problem: Problem[Any], cpus: int, gpus: float, workers: int = 0
) -> ProfileResult:
    """Profiles a configuration: starts a trial, probes it, saves a checkpoint and loads it.

    Args:
        config: Configuration to profile.
        problem: The study's problem, from which the learner is made.
        cpus: Number of cores of a trial.
        gpus: Share of a GPU that a trial has; 0: the CPU.
        workers: Number of further processes that share a trial's work.

    Returns:
        The measured cost, or the reason why the trial failed; errors are not raised.
    """
    device = pick_device(gpus, cpus)
    if device.type == "cuda":
        give_back_memory(device)
        torch.cuda.reset_peak_memory_stats(device)
    try:
        learner = problem.learner(config, Searched(0), Context(device, cpus + workers))
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
    """Returns the memory available to each of several concurrent trials, in GiB.

    Args:
        gpus: Share of a GPU that a trial has; 0 if trials run on the CPU.
        trials: Number of concurrent trials, which divide the free memory of the machine, as far as
            this process may use it; not used for trials on a GPU.
    """
    return gpus * card_gib() if gpus > 0 else memory_left() / trials / 2**30
