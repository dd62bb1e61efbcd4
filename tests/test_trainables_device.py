"""Where a fit runs."""

import torch

from trainables.device import device_name, memory_gib, pick_device


def test_a_trial_without_a_gpu_runs_on_the_cpu_with_a_thread_for_each_core() -> None:
    before = torch.get_num_threads()
    try:
        assert pick_device(0, 2) == torch.device("cpu")
        assert torch.get_num_threads() == 2
        assert pick_device(0, 0.5) == torch.device("cpu")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_share_of_a_gpu_is_a_gpu() -> None:
    before = torch.get_num_threads()
    try:
        assert pick_device(0.25, 1).type == "cuda"
    finally:
        torch.set_num_threads(before)


def test_the_memory_of_a_cpu_is_that_of_the_process() -> None:
    assert 0.05 < memory_gib(torch.device("cpu")) < 24
    assert device_name(torch.device("cpu")) == "cpu"
