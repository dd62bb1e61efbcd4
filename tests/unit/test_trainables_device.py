"""Where a fit runs, and how much memory it takes there."""

import errno
import weakref
from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch
from torch import nn

from trainables.device import (
    LEAST_CONTEXT,
    MOST_CONTEXT,
    card_gib,
    circumstances,
    give_back_memory,
    memory_gib,
    pick_device,
    ran_out_of_memory,
)
from trainables.models.gnn import GNNConfig
from trainables.trainable import TrialTrainable
from trainables.trial_spec import TrialSpec

CPU, GPU = torch.device("cpu"), torch.device("cuda")
GIB = 2**30

MEMORY = 24 * GIB
"""Bytes of a GPU that is made up."""


@pytest.fixture
def _as_before() -> Iterator[None]:
    rnn = cast(Any, torch.backends.cudnn).rnn
    precision = rnn.fp32_precision
    yield
    rnn.fp32_precision = precision


@pytest.fixture
def shares(_as_before: None, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The parts of a GPU that this process was kept to."""
    kept: list[float] = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (MEMORY - 3 * GIB, MEMORY))
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda part, _: kept.append(part)
    )
    return kept


@pytest.mark.parametrize(("cpus", "threads"), [(1, 1), (2, 2), (0.5, 1)])
def test_a_trial_has_as_many_threads_as_cores(cpus: float, threads: int) -> None:
    assert pick_device(0, cpus) == CPU
    assert torch.get_num_threads() == threads
    assert circumstances(CPU)["threads"] == str(threads)


def test_a_trial_is_kept_to_its_share_of_a_gpu(shares: list[float]) -> None:
    """Its tensors to what is left beside the context, for which a quarter of a GiB is left out."""
    assert pick_device(0.25, 1) == GPU
    assert shares == [0.25 - LEAST_CONTEXT / MEMORY]
    assert pick_device(0.001, 1) == GPU
    assert shares[1:] == [0.0], "a context would not fit"


def test_a_trial_that_has_a_gpu_to_itself_is_kept_to_nothing(shares: list[float]) -> None:
    assert pick_device(1, 1) == GPU
    assert pick_device(0, 1) == CPU
    assert shares == []


def precision() -> str:
    return cast(Any, torch.backends.cudnn).rnn.fp32_precision


def test_recurrent_layers_compute_as_all_else_does_on_a_gpu(shares: list[float]) -> None:
    cast(Any, torch.backends.cudnn).rnn.fp32_precision = "tf32"
    pick_device(0, 1)
    assert precision() == "tf32", "nothing is set on the CPU"
    pick_device(1, 1)
    assert precision() == "ieee"


@pytest.mark.usefixtures("_as_before")
def test_the_precision_of_cudnn_changes_nothing_on_the_cpu() -> None:
    def learned() -> list[torch.Tensor]:
        torch.manual_seed(0)
        lstm = nn.LSTM(8, 16, num_layers=2)
        output, _ = lstm(torch.randn(5, 3, 8))
        output.square().sum().backward()
        return [output, *(weight.grad for weight in lstm.parameters() if weight.grad is not None)]

    rnn = cast(Any, torch.backends.cudnn).rnn
    found = []
    for each in ("tf32", "ieee"):
        rnn.fp32_precision = each
        found.append(learned())
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("beside", "context"),
    [
        (0.5 * GIB, 0.5 * GIB),
        (0, LEAST_CONTEXT),  # memory that the driver does not show
        (15 * GIB, MOST_CONTEXT),  # other processes
    ],
)
def test_memory_is_what_is_reserved_and_the_context(
    monkeypatch: pytest.MonkeyPatch, beside: float, context: float
) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 2 * GIB)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 5 * GIB)
    free = MEMORY - 2 * GIB - beside
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (free, MEMORY))
    assert memory_gib(GPU) == 5 + context / GIB
    assert card_gib() == 24


class Held:
    """Stands for what a trial holds of a GPU."""


def test_a_reused_process_gives_back_what_the_trial_before_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial: Any = object.__new__(TrialTrainable)
    trial.device, trial.worker = GPU, Held()
    held, left = weakref.ref(trial.worker), []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: left.append(held()))
    assert trial.reset_config({"trial": TrialSpec(0, GNNConfig())})
    assert left == [None], "the cache was emptied while the trial before still had its tensors"


def test_there_is_nothing_to_give_back_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", None)
    give_back_memory(CPU)


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
def test_all_that_torch_says_for_want_of_memory_is_known(error: BaseException) -> None:
    assert ran_out_of_memory(error)
    assert not ran_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
