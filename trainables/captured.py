"""Forward and backward pass of a training step as one launch on a GPU, by a CUDA graph.

A step here is hundreds of small kernels, which a processor takes longer to launch than a GPU to
run. Where batches have one shape, as padded molecules and windows of drives do, the kernels of a
pass are recorded once, and then launched together.
"""

import gc
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from trainables.flat import FlatParameters

Batch = TypeVar("Batch")


def is_possible(device: torch.device) -> bool:
    """Whether what runs there can be captured."""
    return device.type == "cuda"


class Captured(Generic[Batch]):
    """Learns from batches; on a GPU by a CUDA graph where they have one shape.

    The second of two batches after each other that are alike, in their shapes and in what is no
    tensor, is captured; it and all that are like it are then learned from by the same kernels as
    before, with the same numbers, random ones too. All others are learned from as they come; so
    are all where it cannot be captured, for want of memory or because something waits for the GPU.

    Args:
        learned: Brings the gradients of the loss on a batch, a dataclass, into the vector of the
            weights; gives the loss.
        weights: They stay where they are.
        device: Where all of that is.

    Attributes:
        possible: Whether a graph may be captured; with False, set from outside too, the kernels
            are launched one by one.
    """

    def __init__(
        self, learned: Callable[[Batch], Tensor], weights: FlatParameters, device: torch.device
    ) -> None:
        self.learned = learned
        self.weights = weights
        self.possible = is_possible(device)
        self.kind: Hashable = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Batch) -> Tensor:
        """The loss, whose gradient is then that of the weights' vector."""
        if not self.possible or not is_dataclass(batch):
            return self.learned(batch)
        kind = _kind(batch)
        if self.graph is None:
            before, self.kind = self.kind, kind
            if kind != before or not self._capture(batch):
                return self.learned(batch)
        if self.graph is None or kind != self.kind:
            return self.learned(batch)
        for mine, its in zip(_tensors(self.batch), _tensors(batch), strict=True):
            mine.copy_(its)
        self.graph.replay()
        self.weights.vector.grad = self.gradient
        return self.loss.clone()  # the next batch's goes into the same memory

    def _capture(self, batch: Any) -> bool:
        """Records what learning from such a batch takes, without doing it."""
        copied = {
            field.name: value.clone()
            for field in fields(batch)
            if isinstance(value := getattr(batch, field.name), Tensor)
        }
        self.batch = replace(batch, **copied)
        graph = torch.cuda.CUDAGraph()
        try:
            with _recording(graph):
                self.loss = self.learned(self.batch)
        except RuntimeError:
            self.possible = False
            for parameter in self.weights.parameters:
                parameter.grad = None
            gc.collect()  # what is left of the pass belongs to the stream of the recording
            return False
        self.gradient = self.weights.vector.grad
        self.graph = graph
        return True


@contextmanager
def _recording(graph: torch.cuda.CUDAGraph) -> Iterator[None]:
    """Records what is launched. Where that fails, torch would go on with the stream and the random
    numbers of the recording, which nothing else may draw."""
    stream = torch.cuda.current_stream()
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    before = generator.clone_state()
    try:
        with torch.cuda.graph(graph):
            yield
    except RuntimeError:
        torch.cuda.set_stream(stream)
        generator.graphsafe_set_state(before)
        raise


def _tensors(batch: Any) -> list[Tensor]:
    values = (getattr(batch, field.name) for field in fields(batch))
    return [value for value in values if isinstance(value, Tensor)]


def _kind(batch: Any) -> Hashable:
    """What two batches have in common that the same kernels can learn from."""
    values = (getattr(batch, field.name) for field in fields(batch))
    return tuple((v.shape, v.dtype) if isinstance(v, Tensor) else v for v in values)
