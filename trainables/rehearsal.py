"""What a configuration will take, from its first two steps."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from datasets.errors import described
from datasets.machine import memory_left
from trainables import checkpoint
from trainables.config import FitConfig
from trainables.device import (
    card_gib,
    give_back_memory,
    memory_gib,
    pick_device,
    ran_out_of_memory,
)
from trainables.fit import first_steps
from trainables.stepper import TaskFactory


@dataclass(frozen=True)
class Rehearsal:
    """What came of a rehearsal.

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


def rehearse(config: FitConfig, make_task: TaskFactory, cpus: int, gpus: float) -> Rehearsal:
    """Takes two steps, evaluates, saves a checkpoint and loads it again.

    Args:
        config: What to try.
        make_task: See `TaskFactory`.
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
        task = make_task(config, device)
        begun = first_steps(task, config, device)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint.save(Path(folder), begun.state)
            checkpoint.load(Path(folder), device)
            size = (Path(folder) / checkpoint.FILE).stat().st_size
        seconds = task.steps_per_epoch() * begun.step_seconds + begun.evaluation_seconds
        card = card_gib() if device.type == "cuda" else 0.0
        return Rehearsal(seconds, memory_gib(device), size, card_gib=card)
    except Exception as error:
        problem = f"{type(error).__name__}: {described(error)}"
        return Rehearsal(problem=problem, no_room=ran_out_of_memory(error))


def room_gib(gpus: float, trials: int) -> float:
    """Memory that there is for each of some trials at once; GiB of a GPU or of what this
    process may use of its machine."""
    return gpus * card_gib() if gpus > 0 else memory_left() / trials / 2**30
