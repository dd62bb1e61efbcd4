"""The problem of the GNN study: regress one target of a molecule from its graph."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datasets.graphs import Selection
from datasets.molecules import UNKNOWN
from datasets.sources import MoleculeSet
from datasets.standardize import Standardizer
from datasets.stores import Batch, Store, store_of
from record.trial import Role
from trainables.fit import SupervisedLearner
from trainables.metrics import mae, mse, r2
from trainables.models.gnn import GNN, GNNConfig
from trainables.problem import Context

EVALUATION_BATCH = 256
"""Graphs predicted together; does not change the prediction."""


class MoleculeProblem:
    """Molecules with one target each; see `trainables.problem.Problem`.

    Only of a dipole moment in Debye is it known that the dipole head can give it.

    Args:
        molecules: The molecules, their split, and the unit of the target.
    """

    def __init__(self, molecules: MoleculeSet) -> None:
        self.molecules = molecules
        self.digest = molecules.digest

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `trainables.problem.Problem`."""
        data = self.molecules
        return {
            "unit": data.unit,
            "molecules": len(data.graphs) + data.dropped,
            "left_out": data.dropped,
            "bonds": "listed" if data.lists_bonds else "of the SMILES",
            **{name: len(part) for name, part in vars(data.split).items()},
        }

    @property
    def decided(self) -> Mapping[str, Sequence[Any]]:
        """See `trainables.problem.Problem`."""
        return {} if self.molecules.unit == "D" else {"head": ["mean"]}

    def remark(self, target: str) -> str:
        """What to say of the unit of a target; empty where it is Debye."""
        if self.molecules.unit == "D":
            return ""
        if self.molecules.unit == UNKNOWN:
            return (
                f"the unit of {target} is not recorded: no dipole head, only the mean; say "
                "--unit D if it is a dipole moment in D"
            )
        return f"{target} is in {self.molecules.unit}, not D: no dipole head, only the mean"

    def check(self, config: GNNConfig) -> None:
        """Takes any configuration."""

    def learner(self, config: GNNConfig, role: Role, context: Context) -> SupervisedLearner[Batch]:
        """See `trainables.problem.Problem`; every role learns from the same split."""
        del role
        task = MoleculeTask(self.molecules, config, context.device)
        return SupervisedLearner(task, config, context.device)


class MoleculeTask:
    """One configuration's fit to the molecules, see `trainables.fit.Task`.

    The loss is the squared error in units of the train split's variance, so that a learning rate
    means the same for every target; with ``standardize=False`` it is that of the raw target.

    On a GPU no step waits for it: the order of an epoch goes over once, and predictions come back
    once an evaluation. `heaviest_batch` is the batch by which the memory of a fit is forecast.
    """

    def __init__(self, data: MoleculeSet, config: GNNConfig, device: torch.device) -> None:
        self.config = config
        self.store = store_of(data.graphs, device, config.pair_cutoff)
        self.train = torch.from_numpy(data.split.train)
        self.validation = Selection.of(torch.from_numpy(data.split.validation), device)
        self.targets = torch.from_numpy(data.graphs.targets[data.split.validation])
        self.atoms = torch.from_numpy(np.diff(data.graphs.node_offsets)[data.split.train])
        scale = Standardizer.of(data.graphs.targets[data.split.train])
        self.scale = scale if config.standardize else Standardizer(mean=0.0, std=1.0)

    def model(self) -> nn.Module:
        return GNN(self.config, self.scale)

    def steps_per_epoch(self) -> int:
        return -(-len(self.train) // self.config.batch_size)

    def training_batches(self, generator: torch.Generator, epoch: int) -> Iterator[Batch]:
        del epoch
        order = torch.randperm(len(self.train), generator=generator)
        chosen = Selection.of(self.train[order], self.store.device)
        return map(self.store.batch, chosen.split(self.config.batch_size))

    def heaviest_batch(self) -> Batch:
        """The batch of training molecules that takes the most memory: of those with the most
        atoms, as many as go into a step."""
        most = self.atoms.argsort(descending=True, stable=True)[: self.config.batch_size]
        return self.store.select(self.train[most])

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return ((model(batch) - batch.targets) / self.scale.std).square().mean()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        prediction = _predicted(model, self.store, self.validation)
        error = mse(prediction, self.targets)
        return {
            "validation/loss": error / self.scale.std**2,
            "validation/mse": error,
            "validation/mae": mae(prediction, self.targets),
            "validation/r2": r2(prediction, self.targets),
        }


def predict(model: nn.Module, store: Store, graphs: Tensor) -> Tensor:
    """Predicts the targets of some graphs of a store.

    Args:
        model: In evaluation mode, on the store's device.
        store: Has them.
        graphs: Their numbers, (graphs,) int64, on the CPU.

    Returns:
        (graphs,) float64, on the CPU.
    """
    return _predicted(model, store, Selection.of(graphs, store.device))


@torch.no_grad()
def _predicted(model: nn.Module, store: Store, chosen: Selection) -> Tensor:
    """(graphs,) float64, fetched from a GPU at once."""
    parts = [model(store.batch(part)) for part in chosen.split(EVALUATION_BATCH)]
    return torch.cat(parts).double().cpu()
