"""The training loop, driven by a task that fits a line: no molecules and no Ray."""

import copy
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables.config import FitConfig
from trainables.fit import Epoch, SupervisedLearner, fit
from trainables.learner import Diverged

CPU = torch.device("cpu")
SCHEDULES = ["constant", "cosine"]
PLAIN = FitConfig(epochs=20, warmup=0.0, gradient_clip=0.0, averaging=0.0, weight_decay=0.0)
"""Nothing but Adam."""


class Line:
    """Regresses y = 3 x - 1 from 12 points; a task as `trainables.fit.Task` wants it.

    Writes down what the loop did with it.
    """

    def __init__(self, config: FitConfig, points: int = 12) -> None:
        self.batch_size = config.batch_size
        self.x = torch.linspace(-1, 1, points)
        self.y = 3 * self.x - 1
        self.batches: list[list[float]] = []
        self.losses: list[float] = []
        self.training: list[bool] = []
        self.evaluations: list[tuple[bool, bool]] = []
        self.metrics: dict[str, float] = {}

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(1, 16), nn.Dropout(0.2), nn.Tanh(), nn.Linear(16, 1))

    def training_batches(
        self, model: nn.Module, generator: torch.Generator, epoch: int
    ) -> Iterator[Tensor]:
        order = torch.randperm(len(self.x), generator=generator)
        yield from order.split(self.batch_size)

    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.x) / self.batch_size)

    def heaviest_batch(self, model: nn.Module) -> Tensor:
        return torch.arange(self.batch_size)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        loss = (model(self.x[batch, None])[:, 0] - self.y[batch]).square().mean()
        self.batches.append(batch.tolist())
        self.losses.append(float(loss.detach()))
        self.training.append(model.training)
        return loss

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        self.evaluations.append((model.training, torch.is_grad_enabled()))
        error = (model(self.x[:, None])[:, 0] - self.y).square().mean()
        return {"validation/mse": float(error), **self.metrics}


class Slope:
    """One weight, begun at 1, whose loss has the gradient 4: optimiser and schedule by hand."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.rates: list[float] = []

    def model(self) -> nn.Module:
        model = nn.Linear(1, 1, bias=False)
        nn.init.ones_(model.weight)
        return model

    def training_batches(
        self, model: nn.Module, generator: torch.Generator, epoch: int
    ) -> Iterator[Tensor]:
        del generator
        for _ in range(self.steps):
            yield torch.tensor([4.0])

    def steps_per_epoch(self) -> int:
        return self.steps

    def heaviest_batch(self, model: nn.Module) -> Tensor:
        return torch.tensor([4.0])

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        return model(batch)[0]

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        (weight,) = model.parameters()
        return {"validation/weight": weight.item()}


class Planted(Line):
    """The loss of the batches that hold some points is what it was told."""

    def __init__(self, config: FitConfig, planted: dict[int, float]) -> None:
        super().__init__(config)
        self.planted = planted

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        loss = super().loss(model, batch)
        for place, value in self.planted.items():
            if len(self.batches) == place:
                loss = loss * 0 + value
        return loss


CONFIG = FitConfig(epochs=5, batch_size=5, learning_rate=1e-2, seed=3)


def numbers(epoch: Epoch) -> dict[str, float]:
    """An epoch's metrics without the one that a clock decides."""
    return {name: value for name, value in epoch.metrics.items() if name != "train/seconds"}


def weights(epoch: Epoch) -> list[Tensor]:
    return [tensor.clone() for tensor in epoch.model.state_dict().values()]


def test_epochs_count_from_one_and_carry_the_metrics_of_task_and_loop():
    epochs = list(fit(Line(CONFIG), CONFIG, CPU))
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4, 5]
    for epoch in epochs:
        assert set(epoch.metrics) == {
            *("validation/mse", "train/loss", "train/seconds", "train/learning_rate")
        }
        assert epoch.metrics["train/seconds"] > 0


def test_nothing_happens_before_an_epoch_is_asked_for():
    task = Line(CONFIG)
    epochs = fit(task, CONFIG, CPU)
    assert not task.batches
    next(epochs)
    assert len(task.batches) == 3


def test_the_loss_falls():
    config = replace(CONFIG, epochs=60)
    losses = [epoch.metrics["train/loss"] for epoch in fit(Line(config), config, CPU)]
    assert losses[-1] < 0.2 * losses[0]


def test_each_epoch_takes_every_sample_once_in_a_new_order():
    task = Line(CONFIG)
    list(fit(task, CONFIG, CPU))
    orders = [list(chain(*task.batches[first : first + 3])) for first in range(0, 15, 3)]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert len({tuple(order) for order in orders}) == 5


def test_the_train_loss_is_the_mean_over_the_batches():
    task = Line(CONFIG)
    epoch = next(fit(task, CONFIG, CPU))
    assert epoch.metrics["train/loss"] == pytest.approx(sum(task.losses) / 3, rel=1e-6)  # float32


def test_the_model_trains_in_training_mode_and_is_evaluated_once_an_epoch_without_gradients():
    task = Line(CONFIG)
    for epoch in fit(task, CONFIG, CPU):
        assert not epoch.model.training
        assert torch.is_grad_enabled()
    assert task.training == [True] * 15
    assert task.evaluations == [(False, False)] * 5


def test_the_seed_alone_decides_a_fit():
    first = [numbers(epoch) for epoch in fit(Line(CONFIG), CONFIG, CPU)]
    torch.manual_seed(99)
    torch.rand(7)
    assert [numbers(epoch) for epoch in fit(Line(CONFIG), CONFIG, CPU)] == first
    other = replace(CONFIG, seed=4)
    assert [numbers(epoch) for epoch in fit(Line(other), other, CPU)] != first


def test_the_seed_decides_weights_and_order():
    losses, batches = [], []
    for seed in (3, 4):
        task, config = Line(CONFIG), replace(CONFIG, seed=seed, batch_size=12)
        task.batch_size = 12  # the first loss is then of the initial weights, whatever the order
        next(fit(task, config, CPU))
        losses.append(task.losses[0])
        batches.append(task.batches[0])
    assert losses[0] != losses[1]
    assert batches[0] != batches[1]


def test_a_step_is_that_of_adamw_by_hand():
    """Loshchilov and Hutter 2019: decoupled decay 1 * (1 - 0.1 * 0.5); then, in Adam's first step,
    m / sqrt(v) is the sign of the gradient, so minus 0.1. L2 regularisation would give 0.9."""
    config = replace(PLAIN, epochs=1, learning_rate=0.1, weight_decay=0.5, schedule="constant")
    (epoch,) = fit(Slope(1), config, CPU)
    assert epoch.metrics["validation/weight"] == pytest.approx(0.95 - 0.1, rel=1e-6)  # float32


PEAK = 1e-2
RATES = {
    ("constant", 0.0): [PEAK] * 21,
    # Half a cosine from the peak to 0 after all 20 steps.
    ("cosine", 0.0): [PEAK * (1 + math.cos(math.pi * step / 20)) / 2 for step in range(21)],
    # A fifth of the steps is 4: the peak is reached in 5 equal strides, then kept or left.
    ("constant", 0.2): [PEAK * (step + 1) / 5 for step in range(4)] + [PEAK] * 17,
    ("cosine", 0.2): [PEAK * (step + 1) / 5 for step in range(4)]
    + [PEAK * (1 + math.cos(math.pi * step / 16)) / 2 for step in range(17)],
}
"""The learning rate of each of 20 steps, and where it stands after them."""


@pytest.mark.parametrize(("schedule", "warmup"), RATES)
@pytest.mark.parametrize("steps", [1, 4, 5])
def test_the_learning_rate_follows_its_documented_schedule_over_all_steps_of_all_epochs(
    schedule, warmup, steps
):
    config = replace(
        PLAIN, epochs=20 // steps, learning_rate=PEAK, schedule=schedule, warmup=warmup
    )
    found = [epoch.metrics["train/learning_rate"] for epoch in fit(Slope(steps), config, CPU)]
    expected = RATES[schedule, warmup][steps::steps]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("schedule", "warmup"), RATES)
def test_the_first_step_is_taken_at_the_beginning_of_the_schedule(schedule, warmup):
    """Adam's first step moves a weight by the learning rate, whatever the gradient."""
    config = replace(PLAIN, learning_rate=PEAK, schedule=schedule, warmup=warmup)
    epoch = next(fit(Slope(1), config, CPU))
    moved = 1 - epoch.metrics["validation/weight"]
    expected = RATES[schedule, warmup][0]
    assert moved == pytest.approx(expected, abs=2e-7)  # of a weight of 1, float32


def test_a_long_gradient_is_shortened_and_a_short_one_is_not():
    """Adam does not see the size of its first gradient, but its second moment remembers it: after
    a gradient of 4 cut to 1 and one of 1 left as it is, both steps are alike."""

    class Weaker(Slope):
        def training_batches(
            self, model: nn.Module, generator: torch.Generator, epoch: int
        ) -> Iterator[Tensor]:
            del generator
            yield torch.tensor([4.0])
            yield torch.tensor([1.0])

    def moved(clip: float) -> float:
        config = replace(
            PLAIN, epochs=1, learning_rate=PEAK, schedule="constant", gradient_clip=clip
        )
        (epoch,) = fit(Weaker(2), config, CPU)
        return 1 - epoch.metrics["validation/weight"]

    assert moved(1.0) == pytest.approx(2 * PEAK, abs=2e-7)
    assert moved(0.0) < 1.9 * PEAK
    assert moved(100.0) == moved(0.0)


def test_the_average_follows_the_weights_by_hand():
    """Steps of 0.01 down from 1. Over 20 * 0.1 = 2 steps: the first, then half of each."""
    config = replace(PLAIN, learning_rate=PEAK, schedule="constant", averaging=0.1)
    found = [epoch.metrics["validation/weight"] for epoch in fit(Slope(1), config, CPU)]
    average, expected = 0.99, []
    for step in range(20):
        average += (1 - PEAK * (step + 1) - average) / 2
        expected.append(average)
    assert found == pytest.approx(expected, abs=1e-5)  # float32, 20 steps


def test_until_there_are_enough_steps_all_of_them_are_averaged():
    config = replace(PLAIN, learning_rate=PEAK, schedule="constant", averaging=0.5)
    found = [epoch.metrics["validation/weight"] for epoch in fit(Slope(1), config, CPU)]
    means = [1 - PEAK * (step + 2) / 2 for step in range(10)]  # of steps 1 to step + 1
    assert found[:10] == pytest.approx(means, abs=1e-5)  # float32, 10 steps


def test_statistics_of_batch_normalisation_are_those_of_the_latest_step():
    class Normalised(Line):
        def model(self) -> nn.Module:
            self.trained = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
            return self.trained

    config = replace(CONFIG, averaging=0.9)
    task = Normalised(config)
    epoch = next(fit(task, config, CPU))
    assert epoch.model is not task.trained
    average, trained = next(epoch.model.parameters()), next(task.trained.parameters())
    assert not torch.equal(average, trained)
    for found, expected in zip(epoch.model.buffers(), task.trained.buffers(), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_forward_pass_of_training_has_its_precision_and_predictions_are_exact(precision):
    seen: dict[bool, torch.dtype] = {}

    def watch(module: nn.Module, _: object, output: Tensor) -> None:
        seen[module.training] = output.dtype

    class Watching(Line):
        def model(self) -> nn.Module:
            model = nn.Linear(1, 1)
            model.register_forward_hook(watch)
            return model

    config = replace(CONFIG, precision=precision)
    next(fit(Watching(config), config, CPU))
    assert seen == {True: getattr(torch, precision), False: torch.float32}


@pytest.mark.parametrize("averaging", [0.0, 0.3])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_resumed_fit_is_bit_identical_to_one_that_was_not_interrupted(schedule, averaging, stop):
    config = replace(CONFIG, schedule=schedule, averaging=averaging)
    whole = [(numbers(e), weights(e)) for e in fit(Line(config), config, CPU)]
    begun = fit(Line(config), config, CPU)
    snapshot = [copy.deepcopy(next(begun).snapshot()) for _ in range(stop)][-1]
    torch.manual_seed(99)
    rest = fit(Line(config), config, CPU, stop, snapshot)
    resumed = [(numbers(e), weights(e)) for e in rest]
    assert [metrics for metrics, _ in resumed] == [metrics for metrics, _ in whole[stop:]]
    for (_, found), (_, expected) in zip(resumed, whole[stop:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_snapshot_is_a_copy_that_the_next_epoch_does_not_change():
    epochs = fit(Line(CONFIG), CONFIG, CPU)
    snapshot = next(epochs).snapshot()
    before = copy.deepcopy(snapshot)
    next(epochs)
    assert flat(snapshot.model) == flat(before.model)
    parts = {"last_loss", "trained", "optimizer", "schedule", "order", "random"}
    assert snapshot.training.keys() == before.training.keys() == parts
    for part in parts:
        assert flat(snapshot.training[part]) == flat(before.training[part]), part


def flat(value: Any) -> Any:
    """Tensors as lists, so that what holds them can be compared."""
    match value:
        case Tensor():
            return value.tolist()
        case dict():
            return {name: flat(each) for name, each in value.items()}
        case list() | tuple():
            return [flat(each) for each in value]
    return value


def test_a_fit_can_be_resumed_twice_from_one_snapshot():
    snapshot = copy.deepcopy(next(fit(Line(CONFIG), CONFIG, CPU)).snapshot())
    first = [numbers(epoch) for epoch in fit(Line(CONFIG), CONFIG, CPU, 1, snapshot)]
    assert len(first) == 4
    assert [numbers(epoch) for epoch in fit(Line(CONFIG), CONFIG, CPU, 1, snapshot)] == first


def test_a_fit_that_had_ended_trains_no_more():
    last = list(fit(Line(CONFIG), CONFIG, CPU))[-1]
    task = Line(CONFIG)
    assert list(fit(task, CONFIG, CPU, last.number, last.snapshot())) == []
    assert not task.batches


def test_a_learner_that_had_ended_predicts_as_it_did():
    last = list(fit(Line(CONFIG), CONFIG, CPU))[-1]
    learner = SupervisedLearner(Line(CONFIG), CONFIG, CPU)
    learner.restore(last.snapshot())
    assert not learner.evaluator.training
    found = learner.evaluator.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(found, weights(last), strict=True))


@pytest.mark.parametrize("stop", [1, 3])
def test_the_last_finite_loss_is_known_to_a_fit_that_goes_on(stop):
    """It is the mean of the epoch before the interruption."""
    begun = fit(Line(CONFIG), CONFIG, CPU)
    left = [next(begun) for _ in range(stop)][-1]
    expected = f"{left.metrics['train/loss']:.4g}, the mean of epoch {stop}"
    resumed = fit(Planted(CONFIG, {1: math.nan}), CONFIG, CPU, stop, left.snapshot())
    with pytest.raises(Diverged, match=f"last finite loss: {re.escape(expected)}$"):
        next(resumed)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_named_with_epoch_and_batch(value):
    """The fifth batch is the second of the three of epoch 2."""
    task = Planted(CONFIG, {4: 0.5, 5: value})
    epochs = fit(task, CONFIG, CPU)
    next(epochs)
    message = rf"^loss {value} in epoch 2, batch 2 of 3; last finite loss: 0\.5$"
    with pytest.raises(Diverged, match=message):
        next(epochs)


def test_the_first_of_several_bad_batches_is_named():
    with pytest.raises(
        Diverged, match=r"loss inf in epoch 1, batch 1 of 3; .*: none in this epoch"
    ):
        next(fit(Planted(CONFIG, {1: math.inf, 2: math.nan, 3: math.nan}), CONFIG, CPU))


def test_the_mean_of_large_but_finite_losses_is_finite():
    """The sum of three losses of 3e38 is beyond 32 bits. One of 1e35 was seen in a real fit."""
    epoch = next(fit(Planted(CONFIG, {1: 3e38, 2: 3e38, 3: 3e38}), CONFIG, CPU))
    assert epoch.metrics["train/loss"] == pytest.approx(3e38, rel=1e-6)  # float32


def test_a_task_may_keep_the_metrics_it_returned():
    class Keeps(Line):
        def evaluate(self, model: nn.Module) -> dict[str, float]:
            self.metrics = super().evaluate(model)
            return self.metrics

    task = Keeps(CONFIG)
    next(fit(task, CONFIG, CPU))
    assert set(task.metrics) == {"validation/mse"}
