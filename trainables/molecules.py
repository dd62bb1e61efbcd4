"""The problem of the GNN study: predict one scalar target of a molecule from its graph."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from datasets.errors import InputError
from datasets.graphs import Graphs, Selection
from datasets.molecules import UNKNOWN
from datasets.sources import MoleculeSet
from datasets.standardize import Standardizer
from datasets.stores import Batch, Store, store_of
from record.trial import Role
from trainables.fit import SupervisedLearner
from trainables.metrics import mae, mse, r2
from trainables.models.gnn import GNN, GNNConfig, Loss
from trainables.models.kept_pairs import keeping_store
from trainables.problem import Context

TURN, STEEPNESS, SQUARED = 0.05, 10.0, 0.3
"""Error, in standard deviations of the target, from which Huber's loss grows linearly; factor of
that loss, by which its gradients are about as large as those of the squared error; and share of
the squared error in the mixed loss."""

EVALUATION_BATCH = 256
"""Number of graphs in a batch of evaluation; it does not change the predictions."""


class MoleculeProblem:
    """A `trainables.problem.Problem`: predict one target of each molecule.

    The dipole head is allowed only if the target's unit is Debye, because only a dipole moment is
    known to suit it.

    Args:
        molecules: The molecules, their split, and the unit of the target.

    Attributes:
        last: The store of the last trial on a CPU, for the next one in this process if it has the
            same edges; it is left out of a pickle.
    """

    def __init__(self, molecules: MoleculeSet) -> None:
        self.molecules = molecules
        self.digest = molecules.digest
        self.last: Store | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "last": None}

    @property
    def facts(self) -> Mapping[str, Any]:
        """The target's unit, the numbers of molecules in all, left out and by split, and where
        the bonds come from."""
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
        """Restricts the network to correcting the prior, with the head ``dipole``, if the
        molecules have one; else the head to ``mean``, unless the target's unit is Debye."""
        if self.molecules.graphs.prior is not None:
            return {"delta": [True], "head": ["dipole"]}
        return {} if self.molecules.unit == "D" else {"head": ["mean"]}

    def remark(self, target: str) -> str:
        """Returns a remark for the user on the target's unit; empty if it is Debye."""
        if self.molecules.unit == "D":
            return ""
        if self.molecules.unit == UNKNOWN:
            return (
                f"the unit of {target} is not recorded: no dipole head, only the mean; say "
                "--unit D if it is a dipole moment in D"
            )
        return f"{target} is in {self.molecules.unit}, not D: no dipole head, only the mean"

    def check(self, config: GNNConfig) -> None:
        """Checks that a configuration corrects a prior if the molecules have one.

        Raises:
            InputError: If it does not, or there is none to correct.
        """
        if config.delta != (self.molecules.graphs.prior is not None):
            raise InputError(
                f"delta is {config.delta}: whether a model corrects a prior is decided by --prior"
            )

    def learner(self, config: GNNConfig, role: Role, context: Context) -> SupervisedLearner[Batch]:
        """Makes the learner of one trial; trials of every role train on the same split."""
        del role
        store = self._store(context.device, config.pair_cutoff)
        task = MoleculeTask(self.molecules, config, context.device, store)
        return SupervisedLearner(task, config, context.device)

    def _store(self, device: torch.device, cutoff: float | None) -> Store:
        """Opens the store of a trial; on a CPU, returns the last one if its edges are the same."""
        if device.type != "cpu":
            return trial_store(self.molecules.graphs, device, cutoff)
        if self.last is None or self.last.cutoff != cutoff:
            self.last = None  # before the next store takes memory
            self.last = trial_store(self.molecules.graphs, device, cutoff)
        return self.last


def trial_store(graphs: Graphs, device: torch.device, cutoff: float | None) -> Store:
    """Opens the store from which a trial cuts its batches; on a CPU, it keeps pairs within the
    cutoff (`trainables.models.kept_pairs`)."""
    if device.type == "cpu" and cutoff is not None:
        return keeping_store(graphs, cutoff)
    return store_of(graphs, device, cutoff)


class MoleculeTask:
    """The `trainables.fit.Task` that fits one configuration to the molecules.

    The loss is of errors in units of the train split's standard deviation, so that a learning
    rate means the same for every target; with ``standardize=False`` of those of the raw target.

    No training step synchronises with a GPU: the order of an epoch is copied to it once, and
    predictions are copied back once in an evaluation. The memory of a fit is forecast with
    `heaviest_batch`.

    Args:
        data: The molecules, their split, and the unit of the target.
        config: Hyperparameters.
        device: Device of the batches.
        store: Store of the molecules for this configuration; None: it is opened.
    """

    def __init__(
        self,
        data: MoleculeSet,
        config: GNNConfig,
        device: torch.device,
        store: Store | None = None,
    ) -> None:
        self.config = config
        self.store = store or trial_store(data.graphs, device, config.pair_cutoff)
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

    def training_batches(
        self, model: nn.Module, generator: torch.Generator, epoch: int
    ) -> Iterator[Batch]:
        del model, epoch
        order = torch.randperm(len(self.train), generator=generator)
        chosen = Selection.of(self.train[order], self.store.device)
        return map(self.store.batch, chosen.split(self.config.batch_size))

    def heaviest_batch(self, model: nn.Module) -> Batch:
        """Returns the batch that takes the most memory: the training molecules with the most
        atoms."""
        del model
        most = self.atoms.argsort(descending=True, stable=True)[: self.config.batch_size]
        return self.store.select(self.train[most])

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return loss_of((model(batch) - batch.targets) / self.scale.std, self.config.loss)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        prediction = _predicted(model, self.store, self.validation)
        error = (prediction - self.targets) / self.scale.std
        return {
            "validation/loss": loss_of(error, self.config.loss).item(),
            "validation/mse": mse(prediction, self.targets),
            "validation/mae": mae(prediction, self.targets),
            "validation/r2": r2(prediction, self.targets),
        }


def loss_of(error: Tensor, loss: Loss) -> Tensor:
    """Returns the mean loss of errors, a scalar.

    Args:
        error: (molecules,), in standard deviations of the target.
        loss: See `GNNConfig`.
    """
    squared = error.square().mean()
    if loss == "squared":
        return squared
    huber = STEEPNESS * huber_loss(error, torch.zeros_like(error), delta=TURN)
    return huber if loss == "huber" else huber + SQUARED * squared


def predict(model: nn.Module, store: Store, graphs: Tensor) -> Tensor:
    """Predicts the targets of selected graphs of a store.

    Args:
        model: Model in evaluation mode, on the store's device.
        store: Store that contains the graphs.
        graphs: Indices of the graphs in the store, (graphs,) int64, on the CPU.

    Returns:
        (graphs,) float64, on the CPU.
    """
    return _predicted(model, store, Selection.of(graphs, store.device))


@torch.no_grad()
def _predicted(model: nn.Module, store: Store, chosen: Selection) -> Tensor:
    """Predicts the targets of the chosen graphs, (graphs,) float64, with one copy from a GPU."""
    parts = [model(store.batch(part)) for part in chosen.split(EVALUATION_BATCH)]
    return torch.cat(parts).double().cpu()
