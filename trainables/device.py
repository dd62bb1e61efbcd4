"""Chooses the device of a fit, limits its memory and measures how much of it was used."""

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
"""Phrases that identify an out-of-memory error for which torch has no exception type of its own:
from the CPU's allocator, from a CUDA context on a full GPU, or from one of CUDA's libraries."""

LEAST_CONTEXT, MOST_CONTEXT = 2**28, 2**30
"""Bounds, in bytes, of the GPU memory that a process uses besides its tensors: the CUDA context,
loaded kernels and libraries. Measured values are clipped to them; on an H200 it was 0.7 GiB."""


def pick_device(gpus: float, cpus: float) -> torch.device:
    """Returns the trial's device, and sets torch's threads, precision and memory limits for it.

    The device is the first visible GPU if the trial has a share of one, else the CPU.

    On a GPU, cuDNN's recurrent layers are set to full float32. By default they round factors to
    TF32 (10 bits), unlike matrix products, so that cuDNN's LSTM and an LSTM written out in PyTorch
    would give different results. After this setting, torch raises an error if
    `torch.backends.cudnn.allow_tf32` is read, as `torch.compile` does, which is not used here.

    Args:
        gpus: Share of a GPU to which the trial is limited; 0 for a trial on the CPU.
        cpus: Number of cores of the trial, and of torch's threads, because the last bits of a sum
            depend on the number of threads that share it.
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
    """Limits the GPU memory that this process may allocate to its share.

    A process that needs more then runs out of memory itself, and hardly ever its neighbours.

    torch's limit counts tensors only, so `LEAST_CONTEXT` is subtracted from the share. If more
    were subtracted, a trial could be denied memory that the pre-flight measured with `memory_gib`
    and planned for. A larger context uses part of the tenth of the GPU that trials leave free.
    """
    whole = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(max(0.0, share - LEAST_CONTEXT / whole), 0)


def give_back_memory(device: torch.device) -> None:
    """Releases the GPU memory that torch caches, so that other processes can use it.

    The tensors of a trial that has ended must have been deleted before. Nothing happens on a CPU.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _keep_freed_memory() -> None:
    """Lets this process keep up to 1 GiB of freed memory, on Linux with glibc.

    By default glibc returns large blocks to the system at once and requests them again in the next
    step; the page faults cost a training step on a CPU a tenth of its time or more. PyTorch's
    tuning guide recommends other allocators against this; this setting has the same effect
    without another library.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, MOST_KEPT)


def memory_gib(device: torch.device) -> float:
    """Returns the process's peak GPU memory, or on a CPU its current resident memory, in GiB.

    Peak GPU memory is the most that torch had reserved, in use or not, plus the CUDA context.
    """
    if device.type == "cuda":
        return (torch.cuda.max_memory_reserved(device) + _context_bytes(device)) / 2**30
    return psutil.Process().memory_info().rss / 2**30


def _context_bytes(device: torch.device) -> int:
    """Estimates the GPU memory that this process uses besides its tensors, in bytes.

    CUDA reports the used memory of the whole GPU, so that memory of other processes is included;
    the result is clipped to `LEAST_CONTEXT` and `MOST_CONTEXT`.
    """
    free, whole = torch.cuda.mem_get_info(device)
    taken = whole - free - torch.cuda.memory_reserved(device)
    return min(max(taken, LEAST_CONTEXT), MOST_CONTEXT)


def card_gib() -> float:
    """Returns the total memory of the first visible GPU in GiB, whether in use or free."""
    return torch.cuda.mem_get_info()[1] / 2**30


def ran_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error means that memory ran out, on the GPU or on the CPU."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    no_room = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return isinstance(error, kinds) or no_room or any(words in str(error) for words in NO_ROOM)


def circumstances(device: torch.device) -> dict[str, str]:
    """Returns the properties of the machine that the last digits of a fit depend on.

    These are the name of the ``device``; the ``processor``, with the instruction set that torch
    uses; and the number of torch's ``threads``, which share a sum.
    """
    return {
        "device": device_name(device),
        "processor": _processor(),
        "threads": str(torch.get_num_threads()),
    }


@cache
def _processor() -> str:
    return f"{get_host_cpu_name()} {torch.backends.cpu.get_cpu_capability()}"


def device_name(device: torch.device) -> str:
    """Returns the name of a GPU's model, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
