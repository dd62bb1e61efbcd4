"""The problem of node classification: one graph, several splits of its nodes."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from datasets.cora import NodeSplits
from datasets.node_graph import NodeGraph
from datasets.splits import Split
from record.trial import Replicate, Role
from trainables.fit import SupervisedLearner, fit
from trainables.models.node_classifier import DeviceGraph, NodeClassifier, NodeConfig
from trainables.problem import Context

STEPS = 10
"""Optimiser steps of an epoch, each on the whole graph."""

ROUNDS = 50
"""Rounds of label propagation; Cora's components are narrower."""

PERCEPTRON = NodeConfig(family="appnp", layers=1, alpha=1.0, width=16, epochs=10)
"""A network that ignores the edges: with alpha 1, a node keeps its own prediction."""

CPU = torch.device("cpu")


class NodeProblem:
    """A `trainables.problem.Problem`: classify nodes; a trial's splits are trained as one model.

    Args:
        graph: The graph.
        splits: Splits of its nodes for the search and the finals.
    """

    def __init__(self, graph: NodeGraph, splits: NodeSplits) -> None:
        self.graph = graph
        self.splits = splits
        self.digest = graph.digest_with([*splits.search, *splits.finals])
        self.decided: Mapping[str, Sequence[Any]] = {}

    @property
    def facts(self) -> Mapping[str, Any]:
        """Sizes of the graph and of a split, and numbers of splits."""
        return {
            "nodes": len(self.graph),
            "edges": self.graph.edges.shape[1] // 2,
            "words": self.graph.words,
            "classes": self.graph.classes,
            "splits_of_search": len(self.splits.search),
            "splits_of_finals": len(self.splits.finals),
            **{name: len(part) for name, part in vars(self.splits.search[0]).items()},
        }

    def check(self, config: NodeConfig) -> None:
        """Accepts any configuration."""

    def splits_for(self, role: Role) -> Sequence[Split]:
        """Returns the splits that a trial learns from: a final's are others than the search's."""
        return self.splits.finals if isinstance(role, Replicate) else self.splits.search

    def task(self, config: NodeConfig, role: Role, device: torch.device) -> "NodeTask":
        """Makes the task of a trial."""
        return NodeTask(self.graph, self.splits_for(role), config, device)

    def learner(self, config: NodeConfig, role: Role, context: Context) -> SupervisedLearner[Any]:
        """Makes the learner of a trial."""
        task = self.task(config, role, context.device)
        return SupervisedLearner(task, config, context.device)

    @cached_property
    def baselines(self) -> Mapping[str, np.ndarray]:
        """Name of a simple method -> its accuracy on the test nodes of each split of the finals,
        (splits,) float64."""
        graph, splits = self.graph, self.splits.finals
        return {
            "majority class": _accuracy(
                graph, splits, [_majority(graph, each) for each in splits]
            ),
            "label propagation": _accuracy(graph, splits, propagated(graph, splits)),
            "perceptron without the graph": perceptron(graph, splits),
        }


class NodeTask:
    """The `trainables.fit.Task` that fits one configuration to all splits of a graph.

    The loss is the cross-entropy of the labelled nodes plus the L2 penalty, summed over the
    splits, so that each of them is trained as if it were alone.
    """

    def __init__(
        self, graph: NodeGraph, splits: Sequence[Split], config: NodeConfig, device: torch.device
    ) -> None:
        self.config = config
        self.splits = len(splits)
        self.sizes = (graph.words, graph.classes)
        self.graph = DeviceGraph.of(graph.features, graph.edges, device)
        self.labels = torch.from_numpy(graph.labels).to(device)
        self.parts = {name: _stacked(splits, name).to(device) for name in ("train", "validation")}

    def model(self) -> NodeClassifier:
        return NodeClassifier(self.config, self.splits, *self.sizes)

    def steps_per_epoch(self) -> int:
        return STEPS

    def training_batches(
        self, model: nn.Module, generator: torch.Generator, epoch: int
    ) -> Iterator[DeviceGraph]:
        del model, generator, epoch
        for _ in range(STEPS):
            yield self.graph

    def heaviest_batch(self, model: nn.Module) -> DeviceGraph:
        del model
        return self.graph

    def loss(self, model: nn.Module, batch: DeviceGraph) -> Tensor:
        assert isinstance(model, NodeClassifier)
        entropy = _cross_entropy(model(batch), self.labels, self.parts["train"])
        return self.splits * entropy + model.penalty()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        scores = model(self.graph)
        found = {}
        for name, part in self.parts.items():
            right = accuracies(scores, self.labels, part)
            found[f"{name}/accuracy"] = float(right.mean(dim=0))
            found[f"{name}/cross_entropy"] = float(_cross_entropy(scores, self.labels, part))
        return found


def accuracies(scores: Tensor, labels: Tensor, part: Tensor) -> Tensor:
    """Computes the share of a part's nodes whose class has the highest score, by split.

    Args:
        scores: (N, S, C), a network's scores of each class.
        labels: (N,) int64.
        part: (S, nodes) int64, the nodes to count.

    Returns:
        (S,) float64.
    """
    return (_chosen(scores, part).argmax(dim=2) == labels[part]).double().mean(dim=1)


def accuracies_on_test(model: nn.Module, task: NodeTask, splits: Sequence[Split]) -> np.ndarray:
    """Returns the accuracy of a trained network on the test nodes of each split, (S,) float64."""
    part = _stacked(splits, "test").to(task.labels.device)
    with torch.no_grad():
        return accuracies(model.eval()(task.graph), task.labels, part).cpu().numpy()


def _chosen(scores: Tensor, part: Tensor) -> Tensor:
    """Picks the scores of each split's nodes: (N, S, C), (S, nodes) -> (S, nodes, C)."""
    splits = torch.arange(len(part), device=part.device)
    return scores[part, splits[:, None]]


def _cross_entropy(scores: Tensor, labels: Tensor, part: Tensor) -> Tensor:
    return functional.cross_entropy(_chosen(scores, part).flatten(0, 1), labels[part].flatten())


def _stacked(splits: Sequence[Split], name: str) -> Tensor:
    return torch.from_numpy(np.stack([getattr(split, name) for split in splits]))


def _accuracy(
    graph: NodeGraph, splits: Sequence[Split], predictions: Sequence[np.ndarray]
) -> np.ndarray:
    pairs = zip(splits, predictions, strict=True)
    return np.array([(made == graph.labels)[split.test].mean() for split, made in pairs])


def _majority(graph: NodeGraph, split: Split) -> np.ndarray:
    """Predicts for each node the most frequent class of the labelled ones, (N,) int64."""
    return np.full(len(graph), np.bincount(graph.labels[split.train]).argmax())


def propagated(graph: NodeGraph, splits: Sequence[Split]) -> list[np.ndarray]:
    """Predicts classes by label propagation (Zhu and Ghahramani 2002), which sees no features.

    The classes of the labelled nodes spread along the edges for `ROUNDS` rounds: every other node
    has the mean of its neighbours. A node that no label reaches has the most frequent class.

    Returns:
        (N,) int64 for each split.
    """
    shape = (len(graph), len(graph))
    ones = np.ones(graph.edges.shape[1])
    adjacency = sparse.csr_matrix((ones, (graph.edges[0], graph.edges[1])), shape)
    degrees = np.maximum(1, np.asarray(adjacency.sum(axis=1)))
    found = []
    for split in splits:
        known = np.eye(graph.classes)[graph.labels[split.train]]
        shares = np.zeros((len(graph), graph.classes))
        for _ in range(ROUNDS):
            shares[split.train] = known
            shares = (adjacency @ shares) / degrees
        shares[split.train] = known
        is_reached = shares.any(axis=1)
        found.append(np.where(is_reached, shares.argmax(axis=1), _majority(graph, split)))
    return found


def perceptron(graph: NodeGraph, splits: Sequence[Split]) -> np.ndarray:
    """Trains `PERCEPTRON` and returns its test accuracy on each split, (S,) float64."""
    task = NodeTask(graph, splits, PERCEPTRON, CPU)
    *_, last = fit(task, PERCEPTRON, CPU)
    return accuracies_on_test(last.model, task, splits)
