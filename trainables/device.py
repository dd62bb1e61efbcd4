"""Where a fit runs, and how much memory it took there."""

import ctypes
import errno
import sys
from functools import cache

import psutil
import torch
from llvmlite.binding import get_host_cpu_name

# Parameters of mallopt(3), from glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
LARGEST_MMAP_THRESHOLD = 32 * 2**20
MOST_KEPT = 2**30

NO_ROOM = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
)
"""What torch says where it raises nothing of its own kind: the CPU's allocator, a CUDA context
that finds the GPU full, a library of CUDA's."""

LEAST_CONTEXT, MOST_CONTEXT = 2**28, 2**30
"""Bytes of a GPU that a process takes beside its tensors: CUDA's context, the kernels that it has
loaded, the libraries. On an H200 it was 0.7 GiB; what is measured counts within these bounds."""


def pick_device(gpus: float, cpus: float) -> torch.device:
    """The first GPU that this process may see where it was given one, else the CPU.

    On a GPU, cuDNN's recurrent layers are told to compute in full float32. By default they round
    factors to 10 bits (TF32), which products of matrices do not, so that an LSTM of cuDNN and one
    that is written out would not compute alike. Nothing may read `torch.backends.cudnn.allow_tf32`
    afterwards, as `torch.compile` does, which is not used here: torch then raises.

    Args:
        gpus: The trial's share of a GPU, which it is kept to; 0 for a trial on the CPU.
        cpus: Cores of the trial. torch gets as many threads, because the last bits of a sum
            depend on how many threads share it.
    """
    torch.set_num_threads(max(1, int(cpus)))
    _keep_freed_memory()
    if gpus <= 0:
        return torch.device("cpu")
    torch.backends.cudnn.rnn.fp32_precision = "ieee"  # pyright: ignore[reportAttributeAccessIssue]
    if gpus < 1:
        _keep_to_share(gpus)
    return torch.device("cuda")


def _keep_to_share(share: float) -> None:
    """Lets this process allocate no more of the GPU than its share, so that who takes more runs
    out of memory itself, and hardly ever a neighbour.

    torch counts tensors only, so the least that the context takes is left out of the share. Were
    it more, a trial could be refused what the pre-flight has counted on (`memory_gib`). What a
    context takes beyond that comes out of the tenth of the GPU that trials leave free.
    """
    whole = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(max(0.0, share - LEAST_CONTEXT / whole), 0)


def give_back_memory(device: torch.device) -> None:
    """Gives memory of a GPU that torch keeps for the next tensors to the processes beside; those
    of a trial that has ended have to be gone before."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _keep_freed_memory() -> None:
    """Lets this process keep up to 1 GiB of what it frees, on Linux with glibc.

    glibc gives large blocks back to the system at once and asks for them anew in the next step;
    the page faults cost a training step on a CPU a tenth of its time and more. PyTorch's tuning
    guide advises other allocators for this; this is as much, without another library.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, MOST_KEPT)


def memory_gib(device: torch.device) -> float:
    """Peak GPU memory of this process on a GPU, its resident memory now on a CPU; GiB.

    On a GPU that is what torch had reserved of it at most, in use or not, and the context.
    """
    if device.type == "cuda":
        return (torch.cuda.max_memory_reserved(device) + _context_bytes(device)) / 2**30
    return psutil.Process().memory_info().rss / 2**30


def _context_bytes(device: torch.device) -> int:
    """What this process takes of a GPU beside its tensors.

    CUDA says how much is taken of the card, not by whom: where other processes use it too, theirs
    counts, up to the upper bound.
    """
    free, whole = torch.cuda.mem_get_info(device)
    taken = whole - free - torch.cuda.memory_reserved(device)
    return min(max(taken, LEAST_CONTEXT), MOST_CONTEXT)


def card_gib() -> float:
    """Memory of the first GPU that this process may see, whoever uses it; GiB."""
    return torch.cuda.mem_get_info()[1] / 2**30


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was not as much memory as was asked for, on the GPU or for
    the CPU."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    no_room = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return isinstance(error, kinds) or no_room or any(words in str(error) for words in NO_ROOM)


def circumstances(device: torch.device) -> dict[str, str]:
    """What a fit's last digits depend on where it runs: ``device``; ``processor``, with the
    instructions that torch uses of it; ``threads`` that share a sum."""
    return {
        "device": device_name(device),
        "processor": _processor(),
        "threads": str(torch.get_num_threads()),
    }


@cache
def _processor() -> str:
    return f"{get_host_cpu_name()} {torch.backends.cpu.get_cpu_capability()}"


def device_name(device: torch.device) -> str:
    """What the GPU calls itself, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
