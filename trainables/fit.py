"""Trains a network with AdamW, independently of Ray, the model family and the data set.

    for epoch in fit(task, config, device):
        print(epoch.number, epoch.metrics)

Trials, unit tests, benchmarks and debugging sessions all run this loop.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice, repeat
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from record.trial import Role
from trainables.captured import Captured
from trainables.config import FitConfig
from trainables.flat import FlatParameters
from trainables.learner import Diverged, Probe, Snapshot
from trainables.problem import Context

Batch = TypeVar("Batch")


class Task(Protocol[Batch]):
    """Everything that a fit needs to know of a model family and a data set."""

    def model(self) -> nn.Module:
        """Makes an untrained model, with weights drawn from torch's global generator."""
        ...

    def training_batches(
        self, model: nn.Module, generator: torch.Generator, epoch: int
    ) -> Iterator[Batch]:
        """Yields the batches of an epoch in an order drawn from the generator.

        Args:
            model: The model in training, whose predictions may become part of batches.
            generator: Generator of the fit, whose state continues from epoch to epoch.
            epoch: Number of the epoch, counted from 1.
        """
        ...

    def steps_per_epoch(self) -> int:
        """Returns the number of batches that `training_batches` yields in an epoch."""
        ...

    def heaviest_batch(self, model: nn.Module) -> Batch:
        """Returns the batch that takes the most memory among those that an epoch may yield.

        Args:
            model: The model in training.
        """
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns the loss of a batch: a dimensionless scalar to minimise, with its gradient."""
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Computes metrics by name (``split/metric``), without drawing random numbers.

        The study's objective, on the validation split, must be among them.
        """
        ...


TaskFactory = Callable[[Any, torch.device], Task[Any]]
"""Function that makes the `Task` of a configuration on a device; picklable, data included."""


@dataclass(frozen=True)
class Epoch:
    """Result of one pass over the train split.

    Attributes:
        number: Number of the epoch, counted from 1.
        metrics: Metrics by name (``split/metric``).
        model: The model that makes predictions after this epoch, in evaluation mode; the next
            epoch changes it.
        snapshot: Function that takes a snapshot to resume from; call it before the next epoch.
    """

    number: int
    metrics: dict[str, float]
    model: nn.Module
    snapshot: Callable[[], Snapshot]


def fit(
    task: Task[Batch],
    config: FitConfig,
    device: torch.device,
    done: int = 0,
    snapshot: Snapshot | None = None,
) -> Iterator[Epoch]:
    """Trains a model and yields its epochs.

    Args:
        task: The model family and its data.
        config: Optimiser, schedule, epochs and seed.
        device: Device of the model; the task's batches must be on it, too.
        done: Number of epochs that were trained before.
        snapshot: Snapshot that `Epoch.snapshot` returned after those epochs. On the CPU, the
            remaining epochs are bit-identical to those of an uninterrupted fit.

    Raises:
        Diverged: In the epoch whose loss is not finite.
    """
    learner = SupervisedLearner(task, config, device)
    if snapshot is not None:
        learner.restore(snapshot)
    for number in range(done + 1, config.epochs + 1):
        yield Epoch(number, learner.advance(number), learner.evaluator, learner.snapshot)


@dataclass(frozen=True)
class SupervisedProblem:
    """A `trainables.problem.Problem` that fits networks to data by a `Task`.

    Attributes:
        make_task: Function that makes the task of a configuration on a device.
        digest: Fingerprint of everything that influences a fit.
        facts: Further properties of the data to record, by name.
        decided: Config field -> the only values that the data allow.
    """

    make_task: TaskFactory
    digest: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    decided: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def check(self, config: FitConfig) -> None:
        """Accepts any configuration."""

    def learner(self, config: FitConfig, role: Role, context: Context) -> "SupervisedLearner[Any]":
        """Makes the learner of one trial; trials of every role train on the same split."""
        del role
        return SupervisedLearner(self.make_task(config, context.device), config, context.device)


class SupervisedLearner(Generic[Batch]):
    """The `trainables.learner.Learner` that trains a network with AdamW, an epoch at a time.

    Args:
        task: The model family and its data.
        config: Optimiser, schedule, epochs and seed.
        device: Device of the model; the task's batches must be on it, too.

    Attributes:
        learned: Computes loss and gradients of a batch, see `trainables.captured.Captured`.
    """

    def __init__(self, task: Task[Batch], config: FitConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.task = task
        self.config = config
        self.device = device
        self.order = torch.Generator().manual_seed(config.seed)
        self.model = task.model().to(device)
        self.weights = FlatParameters(self.model)
        self.optimizer = torch.optim.AdamW(
            [self.weights.vector],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        steps = config.epochs * task.steps_per_epoch()
        self.schedule = LambdaLR(
            self.optimizer, LearningRateSchedule(config.schedule, config.warmup, steps)
        )
        self.average = Average(self.model, config.averaging * steps) if config.averaging else None
        learned = partial(_learned, task, self.model, self.weights, config, device)
        self.learned = Captured(learned, self.weights, device)
        self.last_loss: float | None = None

    @property
    def evaluator(self) -> nn.Module:
        """The model that makes predictions: the one with averaged weights, if they are averaged,
        else the trained one."""
        return self.model if self.average is None else self.average.model

    def restore(self, snapshot: Snapshot) -> None:
        """Restores weights, optimiser, schedule and random generators from a snapshot."""
        training = snapshot.training
        self.last_loss = training["last_loss"]
        self.model.load_state_dict(training["trained"] or snapshot.model)
        if self.average is not None:
            self.average.model.load_state_dict(snapshot.model)
        self.evaluator.eval()
        self.optimizer.load_state_dict(self._optimizer_state(training["optimizer"], load=True))
        self.schedule.load_state_dict(training["schedule"])
        self.order.set_state(training["order"])
        _set_random_state(training["random"], self.device)

    def snapshot(self) -> Snapshot:
        """Copies weights, optimiser, schedule and random generators into a snapshot."""
        training = {
            "last_loss": self.last_loss,
            "trained": None if self.average is None else deepcopy(self.model.state_dict()),
            "optimizer": self._optimizer_state(self.optimizer.state_dict(), load=False),
            "schedule": self.schedule.state_dict(),
            "order": self.order.get_state(),
            "random": _random_state(self.device),
        }
        return Snapshot(deepcopy(self.evaluator.state_dict()), training)

    def probe(self) -> Probe:
        """Estimates the duration of an epoch from one timed step and one timed evaluation.

        The first step, which is not timed, uses the heaviest batch. A GPU loads kernels at their
        first call, and a step is captured when its batch looks like the previous one; therefore a
        later step and, on a GPU, the second evaluation are timed.
        """
        self.model.train()
        float(self._step(self.task.heaviest_batch(self.model)))  # float() waits for the GPU
        moments = [time.perf_counter()]
        steps = 4 if self.device.type == "cuda" else 2
        epochs = repeat(self.config.epochs, steps)
        passes = (self.task.training_batches(self.model, self.order, n) for n in epochs)
        for batch in islice(chain.from_iterable(passes), steps):
            float(self._step(batch))
            moments.append(time.perf_counter())
        step_seconds = moments[-1] - moments[-2]
        seconds = self.task.steps_per_epoch() * step_seconds + self._evaluation_seconds()
        return Probe(seconds, self.snapshot())

    def _evaluation_seconds(self) -> float:
        self.evaluator.eval()
        with torch.no_grad():
            if self.device.type == "cuda":
                self.task.evaluate(self.evaluator)
            begun = time.perf_counter()
            self.task.evaluate(self.evaluator)
        return time.perf_counter() - begun

    def _optimizer_state(self, state: dict[str, Any], *, load: bool) -> dict[str, Any]:
        """Copies the optimiser's state and reorders the vectors in it.

        Args:
            state: State of the optimiser.
            load: If true, from the order of ``model.parameters()``, in which checkpoints of all
                devices are written, to that of the weights' vector; else the other way round.
        """
        ordered = self.weights.from_model_order if load else self.weights.in_model_order
        state = deepcopy(state)
        for moments in state["state"].values():
            for name, value in moments.items():
                moments[name] = ordered(value) if value.ndim else value
        return state

    def advance(self, epoch: int) -> dict[str, float]:
        """Makes one pass over the train split, evaluates, and returns metrics by name.

        Raises:
            Diverged: If the loss of a batch is not finite.
        """
        started = time.perf_counter()
        self.weights.check_in_place()
        self.model.train()
        batches = self.task.training_batches(self.model, self.order, epoch)
        losses = torch.stack([self._step(batch) for batch in batches])
        train_loss = self.last_loss = _mean_finite_loss(losses, epoch, self.last_loss)
        seconds = time.perf_counter() - started
        if self.average is not None:
            self.average.copy_buffers(self.model)
        self.evaluator.eval()
        with torch.no_grad():
            metrics = self.task.evaluate(self.evaluator)
        return {
            **metrics,
            "train/loss": train_loss,
            "train/seconds": seconds,
            "train/learning_rate": float(self.schedule.get_last_lr()[0]),
        }

    def _step(self, batch: Batch) -> Tensor:
        loss = self.learned(batch)
        if self.config.gradient_clip > 0:
            nn.utils.clip_grad_norm_(self.weights.vector, self.config.gradient_clip)
        self.optimizer.step()
        self.schedule.step()
        if self.average is not None:
            self.average.follow(self.weights.vector, self.schedule.last_epoch)
        return loss


def _learned(
    task: Task[Batch],
    model: nn.Module,
    weights: FlatParameters,
    config: FitConfig,
    device: torch.device,
    batch: Batch,
) -> Tensor:
    """Returns the loss of a batch and sets the gradient of the weights' vector."""
    half = config.precision == "bfloat16"
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        loss = task.loss(model, batch)
    loss.backward()
    weights.take_gradients()
    return loss.detach()


@dataclass(frozen=True)
class LearningRateSchedule:
    """Computes the learning rate of a step as a share of its peak.

    Attributes:
        schedule: Schedule after the warm-up: ``constant`` or ``cosine``.
        warmup: Share of all steps during which the learning rate rises linearly.
        steps: Number of steps of the whole fit.
    """

    schedule: str
    warmup: float
    steps: int

    def __call__(self, step: int) -> float:
        """Returns the factor for a step, counted from 0: positive from the first step on, and 0
        only after the last step of the cosine schedule."""
        rise = self.warmup * self.steps
        if step < rise:
            return (step + 1) / (rise + 1)
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / (self.steps - rise)))


class Average:
    """A copy of a model whose weights are the exponential moving average of the trained ones.

    Args:
        model: The model in training.
        steps: Approximate number of steps to average over; until that many steps were taken, the
            average is the mean of all steps.
    """

    def __init__(self, model: nn.Module, steps: float) -> None:
        self.model = deepcopy(model).requires_grad_(requires_grad=False)
        self.weights = FlatParameters(self.model).vector.detach()
        self.least = 1 / max(1.0, steps)

    def follow(self, weights: Tensor, step: int) -> None:
        """Updates the average with the weights after a step.

        Args:
            weights: Weights of the model in training as one vector, (number of parameters,).
            step: Number of the step, counted from 1.
        """
        self.weights.lerp_(weights.detach(), max(1 / step, self.least))

    def copy_buffers(self, model: nn.Module) -> None:
        """Copies the buffers of the model in training, such as the running statistics of batch
        normalisation, which are not averaged."""
        for mine, its in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(its)


def _mean_finite_loss(losses: Tensor, epoch: int, before: float | None) -> float:
    """Returns the mean loss of an epoch.

    Losses are checked once an epoch, because each check synchronises with the GPU.

    Args:
        losses: Loss of each batch, (batches,).
        epoch: Number of the epoch, for the error message.
        before: Mean loss of the previous epoch; None in the first epoch.

    Raises:
        Diverged: If a loss is not finite.
    """
    finite = torch.isfinite(losses)
    if not finite.all():
        batch = int(torch.argmin(finite.int()))
        last = "none in this epoch"
        if batch:
            last = f"{float(losses[batch - 1]):.4g}"
        elif before is not None:
            last = f"{before:.4g}, the mean of epoch {epoch - 1}"
        raise Diverged(
            f"loss {float(losses[batch])} in epoch {epoch}, batch {batch + 1} of {len(losses)}; "
            f"last finite loss: {last}"
        )
    return float(losses.double().mean(dim=0))  # a sum of large losses overflows float32


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_random_state(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:  # a snapshot of a CPU has one state only
        torch.cuda.set_rng_state(states[1], device)
