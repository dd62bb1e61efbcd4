"""What a configuration will take, and how much there is of it."""

from typing import Any

import numpy as np
import pytest
import torch
from guessing import Guessing, GuessingProblem
from pretended_gpu import GPU, pretended_gpu

from datasets.errors import InputError
from datasets.sources import MoleculeSet
from trainables import profile as profiling
from trainables.config import TrialConfig
from trainables.learner import Snapshot
from trainables.models.gnn import GNNConfig
from trainables.molecules import MoleculeProblem
from trainables.profile import profile, room_gib


def test_trials_share_the_memory_that_this_process_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That of a container or a job, not of the machine that it runs on."""
    monkeypatch.setattr(profiling, "memory_left", lambda: 8 * 2**30)
    assert room_gib(0, 1) == 8
    assert room_gib(0, 4) == 2


def test_a_trial_on_a_gpu_has_its_share_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "card_gib", lambda: 24.0)
    assert room_gib(0.25, 7) == 6.0
    assert room_gib(1, 1) == 24.0


def test_a_profile_on_a_gpu_counts_its_own_memory_and_that_of_the_card(
    molecules: MoleculeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the one before left is given back first, and its peak forgotten."""
    order: list[str] = []
    config = GNNConfig(width=8, depth=2, batch_size=32)
    with pretended_gpu(monkeypatch):
        monkeypatch.setattr(profiling, "pick_device", lambda *_: GPU)
        for name in ("empty_cache", "reset_peak_memory_stats"):
            monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: order.append(name))
        problem = MoleculeProblem(molecules)
        done = profile(config, problem, cpus=1, gpus=1)
    assert done.problem == ""
    assert (done.memory_gib, done.card_gib) == (1.5, 80)
    assert order[:2] == ["empty_cache", "reset_peak_memory_stats"]


class Refusing(Guessing):
    def __init__(self, seed: int) -> None:
        raise InputError("seed is odd: expected an even one")


class Unprobed:
    advance = snapshot = restore = None


class Arrays(Guessing):
    def snapshot(self) -> Snapshot:
        return Snapshot({"place": np.zeros(2)}, {})


BAD = [
    (Refusing, "seed is odd: expected an even one"),
    (
        lambda seed: Unprobed(),
        "learner() gave a Unprobed without probe: expected an object with advance, snapshot, "
        "restore and probe (docs/your-own-study.md)",
    ),
    (
        Arrays,
        "Snapshot.model['place'] is a numpy.ndarray: expected tensors, numbers, texts, None, and "
        "lists and dictionaries of them",
    ),
]


@pytest.mark.parametrize(("kind", "message"), BAD)
def test_what_is_refused_is_told_in_its_own_words(kind: Any, message: str) -> None:
    done = profile(TrialConfig(), GuessingProblem(kind), cpus=1, gpus=0)
    assert (done.problem, done.no_room) == (message, False)


def test_the_cores_of_workers_that_share_the_work_are_counted() -> None:
    problem = GuessingProblem()
    profile(TrialConfig(), problem, cpus=2, gpus=0)
    profile(TrialConfig(), problem, cpus=2, gpus=0, workers=3)
    assert [context.cores for _, _, context in problem.begun] == [2, 5]
