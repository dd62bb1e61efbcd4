"""A ready-made problem for studies that fit a network to two arrays, inputs and targets."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

SHARES = (0.8, 0.9)
"""Cumulative shares of all samples at which the train split and the validation split end."""

FEWEST = 2
"""Smallest number of samples that a split may have; scores of a single sample say nothing."""

EVALUATION_BATCH = 1024
"""Batch size of evaluation, in samples; it does not change the predictions."""


@dataclass(frozen=True)
class Samples:
    """A batch of samples: inputs (B, ...) and targets (B, ...)."""

    inputs: Tensor
    targets: Tensor


class TensorProblem:
    """A `trainables.problem.Problem` that fits a network to samples held in two arrays.

    A random split, drawn with the study's seed, trains on 80 % of the samples, compares trials on
    10 % (validation) and keeps 10 % for the final test. The objective is ``validation/score``:
    1 - (mean error of the network) / (mean error of a reference).

    Args:
        inputs: Inputs of all samples, (samples, ...) float.
        targets: Targets of all samples, (samples, ...).
        seed: Seed of the split.
        network: Function that builds an untrained network from a configuration.
        loss: Function of predictions and targets that returns the scalar loss to minimise.
        error: Function of predictions and targets that returns the non-negative error of each
            sample, (B,); for classes, for example, 1 where the class is wrong and 0 elsewhere.
        reference: Function of targets that returns the error of the reference on each sample,
            (B,); by default 1.

    Raises:
        InputError: If inputs and targets differ in number, or a split would be too small.
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
        self.inputs, self.targets = np.asarray(inputs), np.asarray(targets)
        if len(self.inputs) != len(self.targets):
            raise InputError(
                f"{len(self.inputs)} inputs and {len(self.targets)} targets: expected one target "
                "for each input"
            )
        order = np.random.default_rng(seed).permutation(len(self.inputs))
        ends = [round(share * len(order)) for share in SHARES]
        self.split = Split(*map(np.sort, np.split(order, ends)))
        if min(map(len, vars(self.split).values())) < FEWEST:
            raise InputError(f"{len(order)} samples: expected 20 or more, a tenth of them to test")
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
        """Accepts any configuration."""

    def learner(self, config: FitConfig, role: Role, context: Context) -> SupervisedLearner[Any]:
        """Makes the learner of one trial; trials of every role train on the same split."""
        del role
        task = _TensorTask(self, config, context.device)
        return SupervisedLearner(task, config, context.device)

    def errors(self, model: nn.Module, part: np.ndarray, device: torch.device) -> Tensor:
        """Computes a network's error on each sample of `part`, (samples,) float64 on the CPU.

        Args:
            model: Network in evaluation mode, on `device`.
            part: Indices of the samples, (samples,) int64.
            device: Where the network predicts.
        """
        with torch.no_grad():
            found = [
                self.error(model(some.inputs), some.targets).double().cpu()
                for some in self.batches(part, EVALUATION_BATCH, device)
            ]
        return torch.cat(found)

    def references(self, part: np.ndarray) -> Tensor:
        """Computes the reference's error on the samples with the indices `part`.

        Returns:
            (samples,) float64 on the CPU.
        """
        return self.reference(torch.from_numpy(self.targets[part])).double()

    def batches(self, chosen: np.ndarray, size: int, device: torch.device) -> Iterator[Samples]:
        """Yields the samples with the indices `chosen`, (samples,) int64, in batches of `size`."""
        for first in range(0, len(chosen), size):
            some = chosen[first : first + size]
            yield Samples(
                as_tensor(self.inputs[some], device), as_tensor(self.targets[some], device)
            )


class _TensorTask:
    """The `trainables.fit.Task` that fits one configuration to a `TensorProblem`."""

    def __init__(self, problem: TensorProblem, config: FitConfig, device: torch.device) -> None:
        self.problem = problem
        self.config = config
        self.device = device
        self.train = problem.split.train

    def model(self) -> nn.Module:
        return self.problem.network(self.config)

    def steps_per_epoch(self) -> int:
        return -(-len(self.train) // self.config.batch_size)

    def training_batches(self, generator: torch.Generator, epoch: int) -> Iterator[Samples]:
        del epoch
        order = torch.randperm(len(self.train), generator=generator).numpy()
        return self.problem.batches(self.train[order], self.config.batch_size, self.device)

    def heaviest_batch(self) -> Samples:
        return next(self.problem.batches(self.train, self.config.batch_size, self.device))

    def loss(self, model: nn.Module, batch: Samples) -> Tensor:
        return self.problem.loss(model(batch.inputs), batch.targets)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        part = self.problem.split.validation
        losses = []
        for some in self.problem.batches(part, EVALUATION_BATCH, self.device):
            loss = self.problem.loss(model(some.inputs), some.targets)
            losses.append(float(loss) * len(some.targets))
        errors = self.problem.errors(model, part, self.device)
        share = errors.sum(dim=0) / self.problem.references(part).sum(dim=0)
        return {
            "validation/loss": sum(losses) / len(part),
            "validation/score": 1 - float(share),
        }
