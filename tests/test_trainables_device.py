"""Where a fit runs, and how much memory it takes there."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainables.device import (
    circumstances,
    device_name,
    memory_gib,
    pick_device,
    ran_out_of_memory,
)

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")


@pytest.fixture
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize(("cpus", "threads"), [(1, 1), (2, 2), (0.5, 1)])
def test_a_trial_has_as_many_threads_as_cores(cpus, threads):
    assert pick_device(0, cpus) == CPU
    assert torch.get_num_threads() == threads
    assert circumstances(CPU)["threads"] == str(threads)


@pytest.mark.usefixtures("_threads")
def test_a_share_of_a_gpu_is_a_gpu():
    assert pick_device(0.25, 1).type == "cuda"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    ],
)
def test_all_that_torch_says_for_want_of_memory_is_known(error):
    assert ran_out_of_memory(error)
    assert not ran_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


def in_a_process_of_its_own(*lines: str) -> list[float]:
    """What the lines print: memory that other tests freed would be taken first here."""
    script = "\n".join(["import torch", "from trainables.device import *", *lines])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [float(number) for number in done.stdout.split()]


def test_memory_on_a_cpu_is_that_of_the_process():
    before, after = in_a_process_of_its_own(
        "print(memory_gib(torch.device('cpu')))",
        "held = torch.ones(64 * 2**20)",  # 0.25 GiB
        "print(memory_gib(torch.device('cpu')))",
    )
    assert after - before == pytest.approx(0.25, abs=0.05)
    assert device_name(CPU) == "cpu"
    assert memory_gib(CPU) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_fit_keeps_the_memory_that_it_frees():
    """Blocks of 16 MiB, of which glibc would give back each at once."""
    full, freed = in_a_process_of_its_own(
        "pick_device(0, 1)",
        "held = [torch.ones(4 * 2**20) for _ in range(16)]",
        "print(memory_gib(torch.device('cpu')))",
        "del held",
        "print(memory_gib(torch.device('cpu')))",
    )
    assert freed == pytest.approx(full, abs=0.02)
