"""Where a fit runs, and how much memory it took there."""

import psutil
import torch


def pick_device(gpus: float, cpus: float) -> torch.device:
    """The first GPU that this process may see where it was given one, else the CPU.

    Args:
        gpus: The trial's share of GPUs; 0 for a trial on the CPU.
        cpus: Cores of the trial. torch gets as many threads, because the last bits of a sum
            depend on how many threads share it.
    """
    torch.set_num_threads(max(1, int(cpus)))
    return torch.device("cuda" if gpus > 0 else "cpu")


def memory_gib(device: torch.device) -> float:
    """Peak GPU memory of this process on a GPU, its resident memory now on a CPU; GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return psutil.Process().memory_info().rss / 2**30


def device_name(device: torch.device) -> str:
    """What the GPU calls itself, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
