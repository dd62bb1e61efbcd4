"""The task of the GNN study: regress one target of a molecule from its graph."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from datasets.graphs import GraphBatch, GraphStore
from datasets.sources import MoleculeSet
from datasets.standardize import Standardizer
from trainables.metrics import mae, mse, r2
from trainables.models.gnn import GNN, GNNConfig

EVALUATION_BATCH = 256
"""Graphs predicted together; does not change the prediction."""


class MoleculeTask:
    """One configuration's fit to the molecules, see `trainables.fit.Task`.

    The loss is the squared error in units of the train split's variance, so that a learning rate
    means the same for every target; with ``standardize=False`` it is that of the raw target.
    """

    def __init__(self, data: MoleculeSet, config: GNNConfig, device: torch.device) -> None:
        self.config = config
        self.store = GraphStore(data.graphs, device, config.pair_cutoff)
        self.train = torch.from_numpy(data.split.train).to(device)
        self.validation = torch.from_numpy(data.split.validation).to(device)
        scale = Standardizer.of(data.graphs.targets[data.split.train])
        self.scale = scale if config.standardize else Standardizer(mean=0.0, std=1.0)

    def model(self) -> nn.Module:
        return GNN(self.config, self.scale)

    def steps_per_epoch(self) -> int:
        return -(-len(self.train) // self.config.batch_size)

    def training_batches(self, generator: torch.Generator, epoch: int) -> Iterator[GraphBatch]:
        del epoch
        order = torch.randperm(len(self.train), generator=generator).to(self.train.device)
        for part in order.split(self.config.batch_size):
            yield self.store.select(self.train[part])

    def heaviest_batch(self) -> GraphBatch:
        """The molecules with the most atoms: what a step holds grows with their number."""
        most = self.store.node_offsets.diff()[self.train].argsort(descending=True)
        return self.store.select(self.train[most[: self.config.batch_size]])

    def loss(self, model: nn.Module, batch: GraphBatch) -> Tensor:
        return ((model(batch) - batch.targets) / self.scale.std).square().mean()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        prediction = predict(model, self.store, self.validation)
        target = self.store.targets[self.validation]
        error = mse(prediction, target)
        return {
            "validation/loss": error / self.scale.std**2,
            "validation/mse": error,
            "validation/mae": mae(prediction, target),
            "validation/r2": r2(prediction, target),
        }


@torch.no_grad()
def predict(model: nn.Module, store: GraphStore, graphs: Tensor) -> Tensor:
    """Predicts the targets of some graphs of a store: (graphs,) int64 -> (graphs,) float64."""
    parts = [model(store.select(part)) for part in graphs.split(EVALUATION_BATCH)]
    return torch.cat(parts).double()
