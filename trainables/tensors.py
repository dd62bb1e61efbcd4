"""Networks that are fitted to tensors: the problem of many a study of one's own."""

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
"""Where the train split ends and the validation split, as shares of all samples."""

FEWEST = 2
"""Samples of a split, at least: of one nothing can be said."""

EVALUATION_BATCH = 1024
"""Samples that are predicted together; does not change the prediction."""


@dataclass(frozen=True)
class Samples:
    """Some samples: inputs (B, ...) and targets (B, ...)."""

    inputs: Tensor
    targets: Tensor


class TensorProblem:
    """Samples that a network is fitted to; see `trainables.problem.Problem`.

    80 % of the samples are trained on, 10 % choose between trials and 10 % are kept for the end,
    drawn with the study's seed. The objective is ``validation/score``: 1 - the mean error as a
    share of the mean error of a reference.

    Args:
        inputs: (samples, ...) float.
        targets: (samples, ...).
        seed: Draws the split.
        network: Makes of a configuration an untrained network.
        loss: Of predictions and targets, the scalar to minimise.
        error: Of predictions and targets, the error of each sample, (B,), not negative; of wrong
            classes, say, 1.
        reference: Of targets, the error of the reference on each, (B,); by default 1.

    Raises:
        InputError: If there are not as many inputs as targets, or too few.
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
        """Fingerprint of all samples and their split."""
        found = hashlib.sha256()
        parts = (self.inputs, self.targets, *vars(self.split).values())
        for part in parts:
            found.update(f"{part.dtype} {part.shape}".encode())
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()

    @property
    def facts(self) -> Mapping[str, Any]:
        """How many samples each split has."""
        return {name: len(part) for name, part in vars(self.split).items()}

    def check(self, config: FitConfig) -> None:
        """Takes any configuration."""

    def learner(self, config: FitConfig, role: Role, context: Context) -> SupervisedLearner[Any]:
        """See `trainables.problem.Problem`; every role learns from the same split."""
        del role
        task = _TensorTask(self, config, context.device)
        return SupervisedLearner(task, config, context.device)

    def errors(self, model: nn.Module, part: np.ndarray, device: torch.device) -> Tensor:
        """The error of a network on some samples, (samples,) float64 on the CPU."""
        with torch.no_grad():
            found = [
                self.error(model(some.inputs), some.targets).double().cpu()
                for some in self.batches(part, EVALUATION_BATCH, device)
            ]
        return torch.cat(found)

    def references(self, part: np.ndarray) -> Tensor:
        """The error of the reference on some samples, (samples,) float64 on the CPU."""
        return self.reference(torch.from_numpy(self.targets[part])).double()

    def batches(self, chosen: np.ndarray, size: int, device: torch.device) -> Iterator[Samples]:
        """Some samples, (samples,) int64, so many at a time."""
        for first in range(0, len(chosen), size):
            some = chosen[first : first + size]
            yield Samples(
                as_tensor(self.inputs[some], device), as_tensor(self.targets[some], device)
            )


class _TensorTask:
    """One configuration's fit to tensors; see `trainables.fit.Task`."""

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
