"""Networks that are fitted to tensors: the problem of many a study of one's own."""

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
"""Where the train split ends and the validation split, as shares of all samples."""

FEWEST = 20
"""Samples, at least: of a split of one nothing can be said."""

TRIED = 5
"""Samples on which the functions are tried: seldom as many as a network has outputs."""

EVALUATION_BATCH = 1024
"""Samples that are predicted together; does not change the prediction."""


class TensorProblem:
    """Samples that a network is fitted to; see `trainables.problem.Problem`.

    80 % of the samples are trained on, 10 % choose between trials and 10 % are kept for the end,
    drawn with the study's seed. The objective is ``validation/score``: 1 - the mean error as a
    share of the mean error of a reference.

    Args:
        inputs: (samples, ...), finite; floating ones become float32.
        targets: (samples, ...), finite; floating ones become float32, others int64.
        seed: Draws the split.
        network: Makes of a configuration an untrained network.
        loss: Of predictions and targets, the scalar to minimise.
        error: Of predictions and targets, the error of each sample, (B,), not negative; of wrong
            classes, say, 1.
        reference: Of targets, the error of the reference on each, (B,); by default 1.

    Raises:
        InputError: If they are no finite numbers, not as many inputs as targets, or too few.
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
        """Tries the network of a configuration; see `trainables.problem.Problem`."""
        with torch.random.fork_rng([]):
            self.checked_network(config)

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
        """See `trainables.problem.Problem`; every role learns from the same split."""
        del role
        task = _TensorTask(self, config, context.device)
        return SupervisedLearner(task, config, context.device)

    def samples(self, device: torch.device) -> Samples:
        """All samples on a device; on the CPU they share the memory of the arrays, which nothing
        may write into."""
        return Samples(as_tensor(self.inputs, device), as_tensor(self.targets, device))

    def errors(self, model: nn.Module, part: np.ndarray, device: torch.device) -> Tensor:
        """The error of a network on some samples, (samples,) float64 on the CPU."""
        return self.errors_of(model, self.samples(device), as_tensor(part, device))

    def errors_of(self, model: nn.Module, samples: Samples, rows: Tensor) -> Tensor:
        """The error of a network on some of the samples, where all are on its device already;
        (rows,) float64 on the CPU."""
        with torch.no_grad():
            found = [
                self.error(model(some.inputs), some.targets).double().cpu()
                for some in samples.batches(rows, EVALUATION_BATCH)
            ]
        return torch.cat(found)

    def references(self, part: np.ndarray) -> Tensor:
        """The error of the reference on some samples, (samples,) float64 on the CPU."""
        return self.reference(torch.from_numpy(self.targets[part])).double()


class _TensorTask:
    """One configuration's fit to tensors; see `trainables.fit.Task`."""

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

    def training_batches(self, generator: torch.Generator, epoch: int) -> Iterator[Samples]:
        del epoch
        order = torch.randperm(len(self.train), generator=generator)
        rows = self.train[order].to(self.device)
        return self.samples.batches(rows, self.config.batch_size)

    def heaviest_batch(self) -> Samples:
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
