"""A ready-made problem for studies that fit a network to two arrays, inputs and targets."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from datasets.errors import InputError
from datasets.splits import Split
from datasets.tensors import as_tensor
from record.trial import Role
from trainables.config import FitConfig
from trainables.fit import SupervisedLearner
from trainables.problem import Context
from trainables.samples import Samples, numbers
from trainables.tensor_functions import check_functions

CPU = torch.device("cpu")

SHARES = (0.8, 0.9)
"""Cumulative shares of all samples at which the train split and the validation split end."""

FEWEST = 20
"""Smallest number of samples: scores of a split with a single one say nothing."""

TRIED = 5
"""Number of samples on which the user's functions are tried: seldom the number of outputs."""

EVALUATION_BATCH = 1024
"""Batch size of evaluation, in samples; it does not change the predictions."""


class TensorProblem:
    """A `trainables.problem.Problem` that fits a network to samples held in two arrays.

    A random split, drawn with the study's seed, trains on 80 % of the samples, compares trials on
    10 % (validation) and keeps 10 % for the final test. The objective is ``validation/score``:
    1 - (mean error of the network) / (mean error of a reference).

    Args:
        inputs: Inputs of all samples, (samples, ...), finite; floats are converted to float32.
        targets: Targets of all samples, (samples, ...), finite; floats are converted to float32,
            integers to int64.
        seed: Seed of the split.
        network: Function that builds an untrained network from a configuration.
        loss: Function of predictions and targets that returns the scalar loss to minimise.
        error: Function of predictions and targets that returns the non-negative error of each
            sample, (B,); for classes, for example, 1 where the class is wrong and 0 elsewhere.
        reference: Function of targets that returns the error of the reference on each sample,
            (B,); by default 1.

    Raises:
        InputError: If the samples are not finite numbers, inputs and targets differ in number, or
            there are too few.
    """

    def __init__(
        self,
        inputs: ArrayLike,
        targets: ArrayLike,
        seed: int,
        *,
        network: Callable[[Any], nn.Module],
        loss: Callable[[Tensor, Tensor], Tensor],
        error: Callable[[Tensor, Tensor], Tensor],
        reference: Callable[[Tensor], Tensor] = lambda target: torch.ones(len(target)),
    ) -> None:
        self.inputs = numbers("inputs", inputs, "turn them into numbers first")
        self.targets = numbers("targets", targets, "number the classes from 0")
        if self.targets.dtype.kind in "biu":
            self.targets = self.targets.astype(np.int64, copy=False)
        if len(self.inputs) != len(self.targets):
            raise InputError(
                f"{len(self.inputs)} inputs and {len(self.targets)} targets: expected one target "
                "for each input"
            )
        order = np.random.default_rng(seed).permutation(len(self.inputs))
        ends = [round(share * len(order)) for share in SHARES]
        self.split = Split(*map(np.sort, np.split(order, ends)))
        if len(order) < FEWEST:
            raise InputError(
                f"{len(order)} samples: expected {FEWEST} or more, a tenth of them to test"
            )
        self.network = network
        self.loss = loss
        self.error = error
        self.reference = reference
        self.decided: Mapping[str, Sequence[Any]] = {}

    @property
    def digest(self) -> str:
        """SHA-256 fingerprint of all samples and of their split."""
        found = hashlib.sha256()
        parts = (self.inputs, self.targets, *vars(self.split).values())
        for part in parts:
            found.update(f"{part.dtype} {part.shape}".encode())
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()

    @property
    def facts(self) -> Mapping[str, Any]:
        """Number of samples in each split, by the split's name."""
        return {name: len(part) for name, part in vars(self.split).items()}

    def check(self, config: FitConfig) -> None:
        """Tries the network of a configuration; see `trainables.problem.Problem`."""
        with torch.random.fork_rng([]):
            self.checked_network(config)
        for name, part in vars(self.split).items():
            if not float(self.references(part).sum(dim=0)) > 0:
                raise InputError(
                    f"the errors of the reference on the {name} samples are 0 in sum: the score "
                    "is 1 - error / reference, so give a reference that is sometimes wrong"
                )

    def checked_network(self, config: FitConfig) -> nn.Module:
        """An untrained network, on the CPU.

        Raises:
            InputError: If it, the loss, the error or the reference do not fit the samples.
        """
        network = self.network(config)
        some = self.samples(CPU)[torch.from_numpy(self._tried())]
        check_functions(self, network, some)
        return network

    def _tried(self) -> np.ndarray:
        """Some samples, those of the least and of the greatest target among them; (rows,)."""
        least = [find(self.targets) for find in (np.argmin, np.argmax)]
        first = np.array(least) // (self.targets.size // len(self.targets))
        return np.r_[first, self.split.train[: TRIED - len(first)]]

    def learner(self, config: FitConfig, role: Role, context: Context) -> SupervisedLearner[Any]:
        """Makes the learner of one trial; trials of every role train on the same split."""
        del role
        task = _TensorTask(self, config, context.device)
        return SupervisedLearner(task, config, context.device)

    def samples(self, device: torch.device) -> Samples:
        """All samples on a device; on the CPU they share the memory of the arrays, which nothing
        may write into."""
        return Samples(as_tensor(self.inputs, device), as_tensor(self.targets, device))

    def errors(self, model: nn.Module, part: np.ndarray, device: torch.device) -> Tensor:
        """Computes a network's error on each sample of `part`, (samples,) float64 on the CPU.

        Args:
            model: Network in evaluation mode, on `device`.
            part: Indices of the samples, (samples,) int64.
            device: Where the network predicts.
        """
        return self.errors_of(model, self.samples(device), as_tensor(part, device))

    def errors_of(self, model: nn.Module, samples: Samples, rows: Tensor) -> Tensor:
        """Computes a network's error on each sample of `rows`, (rows,) float64 on the CPU, where
        all samples are on its device already."""
        with torch.no_grad():
            found = [
                self.error(model(some.inputs), some.targets).double().cpu()
                for some in samples.batches(rows, EVALUATION_BATCH)
            ]
        return torch.cat(found)

    def references(self, part: np.ndarray) -> Tensor:
        """Computes the reference's error on the samples with the indices `part`.

        Returns:
            (samples,) float64 on the CPU.
        """
        return self.reference(torch.from_numpy(self.targets[part])).double()


class _TensorTask:
    """The `trainables.fit.Task` that fits one configuration to a `TensorProblem`."""

    def __init__(self, problem: TensorProblem, config: FitConfig, device: torch.device) -> None:
        self.problem = problem
        self.config = config
        self.device = device
        self.samples = problem.samples(device)
        self.train = as_tensor(problem.split.train, CPU)
        self.validation = as_tensor(problem.split.validation, device)

    def model(self) -> nn.Module:
        return self.problem.checked_network(self.config)

    def steps_per_epoch(self) -> int:
        return -(-len(self.train) // self.config.batch_size)

    def training_batches(
        self, model: nn.Module, generator: torch.Generator, epoch: int
    ) -> Iterator[Samples]:
        del model, epoch
        order = torch.randperm(len(self.train), generator=generator)
        rows = self.train[order].to(self.device)
        return self.samples.batches(rows, self.config.batch_size)

    def heaviest_batch(self, model: nn.Module) -> Samples:
        del model
        return self.samples[self.train[: self.config.batch_size].to(self.device)]

    def loss(self, model: nn.Module, batch: Samples) -> Tensor:
        return self.problem.loss(model(batch.inputs), batch.targets)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        part = self.problem.split.validation
        losses = []
        for some in self.samples.batches(self.validation, EVALUATION_BATCH):
            loss = self.problem.loss(model(some.inputs), some.targets)
            losses.append(float(loss) * len(some.targets))
        errors = self.problem.errors_of(model, self.samples, self.validation)
        share = errors.sum(dim=0) / self.problem.references(part).sum(dim=0)
        return {
            "validation/loss": sum(losses) / len(part),
            "validation/score": 1 - float(share),
        }
