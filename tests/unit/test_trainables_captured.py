"""Learning from batches that are alike by a CUDA graph: which of them are, and with what result.

Which batches are captured is tested with a graph that only notes what is asked of it, the result
on a real GPU where there is one.
"""

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from contracts import SomeGPU, assert_same, metrics, some_gpu, weights
from family_contracts import KEYS
from moving_stripes import striped_drives
from pretended_gpu import CPU, GPU
from torch import Tensor, nn

from datasets.driving import Drives
from datasets.sources import MoleculeSet
from trainables import captured
from trainables.captured import Captured
from trainables.config import FitConfig
from trainables.driving import DrivingTask, Windows
from trainables.fit import Epoch, TaskFactory, fit
from trainables.flat import FlatParameters
from trainables.models.gnn import GNNConfig
from trainables.models.world_model import WorldModelConfig
from trainables.molecules import MoleculeTask


@dataclass(frozen=True)
class Numbers:
    """A batch."""

    x: Tensor
    half: bool = False
    more: Tensor | None = None


class NotedGraph:
    """A graph that counts how often it is replayed."""

    made: ClassVar[list["NotedGraph"]]

    def __init__(self) -> None:
        self.replayed = 0
        self.made.append(self)

    def replay(self) -> None:
        self.replayed += 1


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> Captured[Numbers]:
    """Learns, or so it seems to it, on a GPU."""
    NotedGraph.made = []

    @contextmanager
    def recording(graph: NotedGraph) -> Iterator[None]:
        yield

    monkeypatch.setattr(captured, "is_possible", lambda _: True)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", NotedGraph)
    monkeypatch.setattr(captured, "_recording", recording)
    model = nn.Linear(1, 1)
    flat = FlatParameters(model)

    def learn(batch: Numbers) -> Tensor:
        loss = model(batch.x).sum()
        loss.backward()
        flat.take_gradients()
        return loss.detach()

    return Captured(learn, flat, GPU)


def test_where_it_cannot_be_captured_all_are_learned_from_as_they_come(
    learned: Captured[Numbers], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def recording(graph: NotedGraph) -> Iterator[None]:
        yield
        raise RuntimeError("planted")

    monkeypatch.setattr(captured, "_recording", recording)
    for _ in range(4):
        learned(Numbers(torch.full((1, 1), 5.0)))
        assert learned.weights.vector.grad is not None
        assert learned.weights.vector.grad.tolist() == [5, 1]
    assert len(NotedGraph.made) == 1
    assert learned.graph is None


def test_what_a_failed_capture_made_is_gone_when_the_batch_is_learned_from_uncaptured(
    learned: Captured[Numbers],
) -> None:
    """Gradients would else be written on the stream of the capture. Things that refer to
    themselves, as results of autograd functions may, only the garbage collector finds."""
    made: list[weakref.ref[Tensor]] = []
    alive: list[bool] = []
    plain = learned.learned

    def learn(batch: Numbers) -> Tensor:
        alive.append(any(each() is not None for each in made))
        result = batch.x * 2
        around: list[Any] = [result]
        around.append(around)
        made.append(weakref.ref(result))
        if len(made) == 2:
            raise RuntimeError("planted: cannot be captured")
        return plain(batch)

    learned.learned = learn
    learned(Numbers(torch.ones(1, 1)))
    gc.collect()
    learned(Numbers(torch.ones(1, 1)))
    assert alive == [False, False, False]


def batch(rows: int, **fields: Any) -> Numbers:
    return Numbers(torch.rand(rows, 1), **fields)


def test_the_second_of_two_batches_that_are_alike_is_captured(learned: Captured[Numbers]) -> None:
    """And those after it, while others between them are not."""
    replayed = []
    for rows in (4, 3, 4, 4, 4, 2, 4):
        learned(batch(rows))
        replayed.append(sum(graph.replayed for graph in NotedGraph.made))
    assert replayed == [0, 0, 0, 1, 2, 2, 3]
    assert len(NotedGraph.made) == 1


@pytest.mark.parametrize(
    "other",
    [
        batch(3),
        batch(4, half=True),
        batch(4, more=torch.ones(1)),
        Numbers(torch.ones(4, 1).half()),
    ],
    ids=["shape", "what is no tensor", "a tensor more", "kind of number"],
)
def test_others_are_not(other: Numbers, learned: Captured[Numbers]) -> None:
    learned(batch(4))
    if other.x.dtype == torch.float32:
        learned(other)
    assert captured._kind(other) != captured._kind(batch(4))
    assert NotedGraph.made == []


def test_nothing_is_captured_on_a_cpu() -> None:
    assert not captured.is_possible(CPU)
    assert captured.is_possible(GPU)


# --- On a real GPU ---------------------------------------------------------------------------


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SomeGPU:
    return some_gpu(monkeypatch, real=True)


@pytest.fixture(scope="module")
def drives() -> Drives:
    return striped_drives(length=45)


Learned = list[tuple[dict[str, float], dict[str, Tensor]]]


def epochs_of(make_task: TaskFactory, config: FitConfig) -> Iterator[Epoch]:
    return fit(make_task(config, GPU), config, GPU)


def both_ways(
    make_task: TaskFactory, config: FitConfig, monkeypatch: pytest.MonkeyPatch
) -> tuple[Learned, Learned]:
    """What is learned with captured steps, and without."""
    found: list[Learned] = []
    for possible in (True, False):
        monkeypatch.setattr(captured, "is_possible", lambda _, possible=possible: possible)
        epochs = epochs_of(make_task, config)
        found.append([(metrics(epoch), weights(epoch.model)) for epoch in epochs])
    return found[0], found[1]


def agree(one: Learned, other: Learned) -> None:
    assert [each for each, _ in one] == [each for each, _ in other]
    for (_, mine), (_, its) in zip(one, other, strict=True):
        assert_same(mine, its)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("family", KEYS)
def test_molecules_teach_the_same(
    family: str,
    normalization: Any,
    precision: Any,
    molecules: MoleculeSet,
    gpu: SomeGPU,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = GNNConfig(
        family=family,
        width=8,
        batch_size=20,
        epochs=3,
        dropout=0.2,
        averaging=0.5,
        normalization=normalization,
        precision=precision,
    )
    with gpu():
        agree(*both_ways(partial(MoleculeTask, molecules), config, monkeypatch))


WORLD_MODEL = WorldModelConfig(
    decoder="convolutional",
    hidden=16,
    sequence_length=8,
    context=2,
    free_steps=3,
    noise=0.1,
    averaging=0.5,
    batch_size=8,
    epochs=3,
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"core": "scratch", "layers": 2},
        {"core": "transformer", "layers": 2},
        {"encoder": "flatten", "decoder": "linear"},
        {"sampling_rate": 0.5},
        {"sampling_rate": 0.5, "sampling_schedule": "constant", "precision": "bfloat16"},
    ],
    ids=str,
)
def test_drives_teach_the_same(
    changes: dict[str, Any], drives: Drives, gpu: SomeGPU, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gpu():
        config = replace(WORLD_MODEL, **changes)
        agree(*both_ways(partial(DrivingTask, drives), config, monkeypatch))


def test_where_something_waits_all_are_learned_from_as_they_come(
    drives: Drives, gpu: SomeGPU, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its noise, and in the stream of everything else."""
    loss: Callable[..., Tensor] = DrivingTask.loss

    def looking(task: DrivingTask, model: nn.Module, windows: Windows) -> Tensor:
        found = loss(task, model, windows)
        assert found.item() > 0
        return found

    monkeypatch.setattr(DrivingTask, "loss", looking)
    with gpu():
        stream = torch.cuda.current_stream()
        agree(*both_ways(partial(DrivingTask, drives), WORLD_MODEL, monkeypatch))
        assert torch.cuda.current_stream() == stream
