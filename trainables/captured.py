"""Runs the forward and backward pass of a training step on a GPU as one CUDA graph launch.

A training step here consists of hundreds of small kernels, and launching them takes the processor
longer than running them takes the GPU. Where all batches have one shape, as padded molecules and
windows of drives do, the kernels of a pass are captured once and then replayed with one launch.
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
    """Returns whether CUDA graphs can be captured on a device: true for CUDA devices."""
    return device.type == "cuda"


class Captured(Generic[Batch]):
    """Computes loss and gradients of a batch; on a GPU, by a CUDA graph if batches look alike.

    Two batches look alike if their tensors have the same shapes and types and their other fields
    are equal. When two consecutive batches look alike, the pass of the second one is captured; it
    and every later batch of that kind are then computed by replaying the graph, which launches the
    same kernels and gives the same numbers, random ones included. Batches of another kind run
    uncaptured, and so do all batches if the capture fails, because memory runs out or because the
    pass synchronises with the GPU.

    Args:
        learned: Function that takes a batch, writes the gradient of its loss to the gradient of
            the weights' vector, and returns the loss. Only batches that are dataclasses are
            captured.
        weights: Parameters of the model; their memory must not move.
        device: Device of the weights and the batches.

    Attributes:
        possible: Whether a graph may be captured; if False, kernels are launched one by one.
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
        """Returns the loss of a batch and sets the gradient of the weights' vector."""
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
        return self.loss.clone()  # the next replay overwrites the same memory

    def _capture(self, batch: Any) -> bool:
        """Captures the pass of a batch without executing it; returns whether that succeeded."""
        self.batch = _cloned(batch)
        graph = torch.cuda.CUDAGraph()
        try:
            with _recording(graph):
                self.loss = self.learned(self.batch)
        except RuntimeError:
            self.possible = False
        if not self.possible:  # no longer in the except clause, which keeps the pass's tensors
            for parameter in self.weights.parameters:
                parameter.grad = None
            gc.collect()  # tensors left over from the pass belong to the capturing stream
            return False
        self.gradient = self.weights.vector.grad
        self.graph = graph
        return True


@contextmanager
def _recording(graph: torch.cuda.CUDAGraph) -> Iterator[None]:
    """Captures the kernels launched inside the context into a graph.

    If the capture fails, torch would stay on the capturing stream and keep the random generator in
    capture mode, where nothing else may draw from it; both are restored before the error is
    raised again.
    """
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


def _tensors(batch: Any) -> Iterator[Tensor]:
    """Yields the tensors of a batch, which may consist of dataclasses and tuples."""
    if isinstance(batch, Tensor):
        yield batch
    elif is_dataclass(batch):
        for field in fields(batch):
            yield from _tensors(getattr(batch, field.name))
    elif isinstance(batch, tuple):
        for part in batch:
            yield from _tensors(part)


def _cloned(batch: Any) -> Any:
    """Copies a batch, its tensors included."""
    if isinstance(batch, Tensor):
        return batch.clone()
    if is_dataclass(batch):
        parts = {field.name: _cloned(getattr(batch, field.name)) for field in fields(batch)}
        return replace(batch, **parts)  # pyright: ignore[reportArgumentType] - an instance
    return tuple(map(_cloned, batch)) if isinstance(batch, tuple) else batch


def _kind(batch: Any) -> Hashable:
    """Returns the shapes, types and other values of a batch; batches that agree in these can share
    a graph."""
    if isinstance(batch, Tensor):
        return batch.shape, batch.dtype
    if is_dataclass(batch):
        return tuple(_kind(getattr(batch, field.name)) for field in fields(batch))
    return tuple(map(_kind, batch)) if isinstance(batch, tuple) else batch
