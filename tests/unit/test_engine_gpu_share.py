"""How many trials share a GPU, on cards and machines that are made up."""

import warnings

import pytest
import torch

from datasets.errors import InputError
from engine.gpu_share import (
    GPUShare,
    first_share,
    needed_gib,
    trials_a_gpu,
    usable_gpus,
)
from engine.on_ray.nodes import Node
from trainables.profile import ProfileResult


@pytest.mark.parametrize(
    ("cores", "cpus", "needed", "card", "trials"),
    [
        (4, 1, 1.8, 24.0, 4),  # the cores are the bound
        (16, 1, 1.8, 24.0, 12),  # the memory is: 21.6 of 24 GiB
        (16, 4, 1.8, 24.0, 4),
        (7.5, 2, 1.8, 24.0, 3),
        (96, 1, 0.6, 80.0, 16),  # neither is
        (16, 1, 13.0, 24.0, 1),
        (16, 1, 23.9, 24.0, 1),  # more than is meant to be filled, and yet it fits alone
        (0.5, 1, 1.8, 24.0, 1),  # more GPUs than cores
        (16, 1, None, 0.0, 4),  # not measured
        (2, 1, None, 0.0, 2),
    ],
)
def test_as_many_trials_share_a_gpu_as_memory_and_cores_allow(
    cores: float, cpus: int, needed: float | None, card: float, trials: int
) -> None:
    assert GPUShare(cores, cpus, needed, card).trials == trials


@pytest.mark.parametrize("trials", range(1, 17))
def test_a_node_holds_as_many_as_were_meant_to_share_its_gpu(trials: int) -> None:
    """Ray counts in ten thousandths, of which 1 / 7 is none."""
    share = GPUShare(trials, 1, 1.0, 80.0)
    assert share.trials == trials == trials_a_gpu(share.gpus)
    assert share.gpus * trials <= 1
    assert Node("one", "", "", cpus=64, gpus=2).capacity(1, share.gpus) == 2 * trials


def test_a_line_tells_the_share_and_why() -> None:
    assert GPUShare(16, 1, 1.8, 24.0).text() == (
        "12 trials share a GPU: 1.8 of 24.0 GiB each at most, 16 cores for each GPU"
    )
    assert GPUShare(7.5, 8, 1.8, 24.0).text() == (
        "a trial has a GPU: 1.8 of 24.0 GiB each at most, 7.5 cores for each GPU"
    )
    assert GPUShare(16, 1, None, 0.0).text() == (
        "4 trials share a GPU: 16 cores for each GPU; 4 at most, as their memory was not measured"
    )


def test_the_largest_configuration_counts_that_one_gpu_can_train() -> None:
    fits = [ProfileResult(memory_gib=gib) for gib in (1.0, 3.0, 2.0)]
    assert needed_gib([*fits, ProfileResult(problem="CUDA out of memory", no_room=True)]) == 3.0
    assert needed_gib([ProfileResult(problem="planted")]) is None


def test_a_gpu_that_torch_can_use_is_counted_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert (usable_gpus(said.append), said) == (3, [])


def test_a_driver_that_is_too_old_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's own library counts its GPUs all the same."""

    def too_old() -> bool:
        warnings.warn(
            "CUDA initialization: The NVIDIA driver on your system is too old (found version "
            "11040). Please update your GPU driver by downloading",
            stacklevel=1,
        )
        return False

    said: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", too_old)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert usable_gpus(said.append) == 0
    assert said == [
        "this machine has 2 GPUs that torch cannot use (The NVIDIA driver on your system is too "
        "old (found version 11040)): trials train on the CPU; --gpus-per-trial 0 says that this "
        "is meant"
    ]


def test_a_share_is_a_whole_gpu_until_it_is_known_what_a_trial_takes() -> None:
    assert first_share("auto", 2, "this machine has") == 1.0
    assert first_share("auto", 0, "this machine has") == 0.0
    assert first_share(0.25, 1, "this machine has") == 0.25
    assert first_share(0.0, 0, "this machine has") == 0.0
    with pytest.raises(InputError, match=r"0\.25: a node has at most 0 GPUs that torch can use"):
        first_share(0.25, 0, "a node has at most")
