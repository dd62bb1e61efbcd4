"""What Ray is asked for where trials train on GPUs; cards, nodes and answers are made up."""

from typing import Any

import pytest

from engine.on_ray import backend, nodes
from engine.on_ray.backend import RayBackend
from engine.on_ray.nodes import Node
from engine.options import Options
from trainables.fit import SupervisedProblem
from trainables.profile import ProfileResult

HEAD = Node("head", "10.0.0.1", "a", cpus=0, gpus=0)
FOUR = Node("four", "10.0.0.2", "b", cpus=64, gpus=4)


def no_task(*_: Any) -> Any:
    raise AssertionError("nothing is trained")


PROBLEM = SupervisedProblem(no_task, "of nothing")


@pytest.fixture(autouse=True)
def _cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "alive", lambda: [HEAD, FOUR])
    monkeypatch.setattr(nodes, "to_come", list)
    monkeypatch.setattr(backend, "start", lambda _: None)


def profiled(chosen: RayBackend, monkeypatch: pytest.MonkeyPatch, *cards: float) -> None:
    """Does a pre-flight that finds trials to take 2.0 GiB, on GPUs of such memory."""
    done = [ProfileResult(memory_gib=2.0, card_gib=card) for card in cards]
    monkeypatch.setattr(backend, "surviving", lambda *_: done)
    chosen.profile_all([], print)


def test_the_share_follows_from_the_pre_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = RayBackend(PROBLEM, Options(), 1.0)
    profiled(chosen, monkeypatch, 24.0)
    assert chosen.share_gpus(2.0).trials == 10
    assert (chosen.gpus, chosen.concurrent_trials()) == (0.1, 40)
    assert chosen.memory_of_a_trial() == pytest.approx(2.4)


def test_of_several_kinds_of_gpu_the_smallest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = RayBackend(PROBLEM, Options(), 1.0)
    profiled(chosen, monkeypatch, 80.0, 0.0, 24.0)  # one could not be trained
    assert chosen.share_gpus(2.0).card_gib == 24.0


def test_without_a_measurement_no_gpu_is_asked() -> None:
    chosen = RayBackend(PROBLEM, Options(), 1.0)
    assert chosen.share_gpus(None).trials == 4
    assert chosen.gpus == 0.25


@pytest.mark.parametrize(
    ("share", "alone", "asked", "told"),
    [
        (0.25, False, [{"CPU": 2, "GPU": 0.25}, {"CPU": 1}], 0.25),
        (0.25, True, [{"CPU": 64, "GPU": 1.0}], 1.0),
        (1.0, True, [{"CPU": 64, "GPU": 1.0}], 1.0),
        (0, False, [{"CPU": 2}, {"CPU": 1}], 0),
        (0, True, [{"CPU": 64}], 0),
    ],
)
def test_a_trial_that_is_tried_again_alone_has_one_gpu_and_all_cores_of_a_node(
    monkeypatch: pytest.MonkeyPatch, share: float, alone: bool, asked: Any, told: float
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(RayBackend, "_data", lambda _: None)
    monkeypatch.setattr(backend.tune, "with_parameters", lambda _, **known: given.update(known))
    monkeypatch.setattr(backend.tune, "with_resources", lambda _, resources: resources)
    chosen = RayBackend(PROBLEM, Options(cpus_per_trial=2, workers_per_trial=1), share)
    assert chosen._trainable(alone).bundles == asked  # pyright: ignore[reportAttributeAccessIssue]
    assert given["gpus"] == told
