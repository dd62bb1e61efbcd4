"""Where a fit runs, and how much memory it takes there."""

import errno

import pytest
import torch

from trainables.device import (
    circumstances,
    pick_device,
    ran_out_of_memory,
)

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
