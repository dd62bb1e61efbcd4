"""A fit of a network by AdamW: a learner that knows neither Ray nor the model family.

    for epoch in fit(task, config, device):
        print(epoch.number, epoch.metrics)

Trials, unit tests, benchmarks and a debugger all drive this loop.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
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
    """What one model family learns from one data set: all that a fit has to know of either."""

    def model(self) -> nn.Module:
        """A fresh model; draws its weights from torch's global generator."""
        ...

    def training_batches(self, generator: torch.Generator, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, which counts from 1, in an order drawn from the generator."""
        ...

    def steps_per_epoch(self) -> int:
        """How many batches that will be."""
        ...

    def heaviest_batch(self) -> Batch:
        """Of the batches that an epoch may draw, the one that takes the most memory."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The scalar to minimise, dimensionless."""
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Metrics by name, those that trials are compared by on the validation split; draws no
        random number."""
        ...


TaskFactory = Callable[[Any, torch.device], Task[Any]]
"""Brings a configuration and the data together on a device; picklable, data and all."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the train split gave.

    Attributes:
        number: Counts from 1.
        metrics: Name (``split/metric``) -> value.
        model: The model that predicts after this epoch, in evaluation mode; the next epoch
            changes it.
        snapshot: Takes a snapshot to go on from; call it before asking for the next epoch.
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
    """Trains a model, epoch by epoch.

    Args:
        task: The model family and its data.
        config: Optimiser, schedule, epochs and seed.
        device: Where the model lives; the task's batches must be there too.
        done: Epochs that were done before.
        snapshot: What `Epoch.snapshot` gave after them; on the CPU the epochs that follow are
            bit-identical to those of the fit that was not interrupted.

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
    """Data that networks are fitted to; see `trainables.problem.Problem`.

    Attributes:
        make_task: See `TaskFactory`.
        digest: Fingerprint of everything that a fit sees.
        facts: What else to record of the data.
        decided: Config field -> the only values that the data allow.
    """

    make_task: TaskFactory
    digest: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    decided: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def check(self, config: FitConfig) -> None:
        """Takes any configuration."""

    def learner(self, config: FitConfig, role: Role, context: Context) -> "SupervisedLearner[Any]":
        """See `trainables.problem.Problem`; every role learns from the same split."""
        del role
        return SupervisedLearner(self.make_task(config, context.device), config, context.device)


class SupervisedLearner(Generic[Batch]):
    """A network, its optimiser and the order of its samples; see `trainables.learner.Learner`.

    Args:
        task: The model family and its data.
        config: Optimiser, schedule, epochs and seed.
        device: Where the model lives; the task's batches must be there too.

    Attributes:
        learned: Learns from a batch; see `trainables.captured.Captured`.
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
        """The model that predicts: the averaged one, if weights are averaged."""
        return self.model if self.average is None else self.average.model

    def restore(self, snapshot: Snapshot) -> None:
        """See `trainables.learner.Learner`."""
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
        """See `trainables.learner.Learner`."""
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
        """Takes a few steps and evaluates.

        The first step is on the heaviest batch. Where a GPU is used, its kernels are loaded when
        they are first called, and a step is captured when the next is like it: a later step and
        the second evaluation are timed.
        """
        self.model.train()
        float(self._step(self.task.heaviest_batch()))  # waits for a GPU
        moments = [time.perf_counter()]
        steps = 4 if self.device.type == "cuda" else 2
        passes = (self.task.training_batches(self.order, 1) for _ in range(steps))
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
        """A copy of the optimiser's state with its vectors in the vector's order, to load it, or
        in the model's, in which checkpoints of all devices have them."""
        ordered = self.weights.from_model_order if load else self.weights.in_model_order
        state = deepcopy(state)
        for moments in state["state"].values():
            for name, value in moments.items():
                moments[name] = ordered(value) if value.ndim else value
        return state

    def advance(self, epoch: int) -> dict[str, float]:
        """Makes one pass over the train split, and evaluates; see `trainables.learner.Learner`.

        Raises:
            Diverged: If the loss of a batch is not finite.
        """
        started = time.perf_counter()
        self.weights.check_in_place()
        self.model.train()
        batches = self.task.training_batches(self.order, epoch)
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
    """The loss on a batch; its gradient is that of the weights' vector."""
    half = config.precision == "bfloat16"
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        loss = task.loss(model, batch)
    loss.backward()
    weights.take_gradients()
    return loss.detach()


@dataclass(frozen=True)
class LearningRateSchedule:
    """The learning rate as a share of its peak, by step.

    Attributes:
        schedule: What follows the warm-up.
        warmup: Share of the steps of the linear rise.
        steps: Of the whole fit.
    """

    schedule: str
    warmup: float
    steps: int

    def __call__(self, step: int) -> float:
        """The factor at a step counted from 0: positive from the first one on; 0 after the last
        one of a cosine."""
        rise = self.warmup * self.steps
        if step < rise:
            return (step + 1) / (rise + 1)
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / (self.steps - rise)))


class Average:
    """A model whose weights are the exponential moving average of those of one in training.

    Args:
        model: The one in training.
        steps: About how many steps are averaged; until there are as many, all of them are, evenly.
    """

    def __init__(self, model: nn.Module, steps: float) -> None:
        self.model = deepcopy(model).requires_grad_(requires_grad=False)
        self.weights = FlatParameters(self.model).vector.detach()
        self.least = 1 / max(1.0, steps)

    def follow(self, weights: Tensor, step: int) -> None:
        """Takes in the weights after a step, as one vector; steps count from 1."""
        self.weights.lerp_(weights.detach(), max(1 / step, self.least))

    def copy_buffers(self, model: nn.Module) -> None:
        """What is no weight, such as the statistics of batch normalisation, is not averaged."""
        for mine, its in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(its)


def _mean_finite_loss(losses: Tensor, epoch: int, before: float | None) -> float:
    """The mean over the batches; looked at once an epoch, so that a GPU never waits.

    Args:
        losses: Of each batch.
        epoch: For the message.
        before: The mean of the epoch before; None if this is the first.

    Raises:
        Diverged: If one of them is not finite.
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
    return float(losses.double().mean(dim=0))  # large ones overflow a sum of floats


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_random_state(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:  # a fit on a CPU has no other
        torch.cuda.set_rng_state(states[1], device)
