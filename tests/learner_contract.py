"""Contract tests that each implementation of a learner inherits."""

import io
import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from contracts import BY_A_CLOCK
from torch import Tensor

from trainables.learner import Learner, Snapshot

Begin = Callable[[], Learner]
"""Function that makes a new learner of the same configuration, of at least three epochs, at each
call."""


def read_again(snapshot: Snapshot) -> Snapshot:
    """Saves a snapshot and loads it again, with tensors on the CPU and only plain values
    allowed."""
    file = io.BytesIO()
    torch.save(vars(snapshot), file)
    file.seek(0)
    return Snapshot(**torch.load(file, map_location="cpu", weights_only=True))


def same(one: Any, other: Any) -> bool:
    """Returns whether two values, which may be or contain tensors, are bit-identical."""
    match one:
        case Tensor():
            return one.dtype == other.dtype and torch.equal(one, other)
        case dict():
            return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
        case list() | tuple():
            return len(one) == len(other) and all(map(same, one, other))
    return one == other


def assert_same(one: Snapshot, other: Snapshot) -> None:
    for part in ("model", "training"):
        mine, its = getattr(one, part), getattr(other, part)
        assert mine.keys() == its.keys()
        assert [name for name in mine if not same(mine[name], its[name])] == [], part


def layout(value: Any) -> Any:
    """Returns the shapes and types of all tensors in a value, in its nested structure."""
    match value:
        case Tensor():
            return tuple(value.shape), value.dtype
        case dict():
            return {name: layout(each) for name, each in value.items()}
        case list() | tuple():
            return [layout(each) for each in value]
    return None


def advanced(learner: Learner, *epochs: int) -> list[dict[str, float]]:
    """Trains the given epochs; returns the metrics of each, without measured times."""
    done = [learner.advance(epoch) for epoch in epochs]
    return [{k: v for k, v in each.items() if k not in BY_A_CLOCK} for each in done]


def predicts_as_evaluated(learner: Learner) -> bool:
    """Whether the network that predicts is in evaluation mode, if the learner shows one."""
    evaluator = getattr(learner, "evaluator", None)
    return evaluator is None or not evaluator.training


class LearnerContract:
    """Tests of a learner; a subclass defines the fixture ``begin``, which returns a `Begin`."""

    def test_metrics_are_finite_numbers_by_name(self, begin: Begin) -> None:
        metrics = begin().advance(1)
        assert metrics
        for name, value in metrics.items():
            assert "/" in name
            assert math.isfinite(value), name

    def test_the_same_configuration_learns_the_same(self, begin: Begin) -> None:
        one, other = begin(), None
        first = advanced(one, 1, 2)
        torch.rand(3)
        other = begin()
        assert advanced(other, 1, 2) == first
        assert_same(read_again(other.snapshot()), read_again(one.snapshot()))

    def test_who_was_restored_is_where_the_other_was(self, begin: Begin) -> None:
        whole, resumed = begin(), begin()
        whole.advance(1)
        left = read_again(whole.snapshot())
        resumed.restore(left)
        assert_same(read_again(resumed.snapshot()), left)
        assert predicts_as_evaluated(resumed)

    def test_who_was_restored_goes_on_as_if_there_had_been_no_interruption(
        self, begin: Begin
    ) -> None:
        whole = begin()
        whole.advance(1)
        left = read_again(whole.snapshot())
        expected, end = advanced(whole, 2, 3), read_again(whole.snapshot())
        resumed = begin()
        torch.rand(3)
        resumed.restore(left)
        assert advanced(resumed, 2, 3) == expected
        assert_same(read_again(resumed.snapshot()), end)

    def test_a_snapshot_is_not_changed_by_the_epochs_after_it(self, begin: Begin) -> None:
        """Training changes neither a snapshot that was taken of the learner nor one that was
        restored into it."""
        whole, resumed = begin(), begin()
        whole.advance(1)
        taken = whole.snapshot()
        before = read_again(taken)
        whole.advance(2)
        assert_same(read_again(taken), before)
        given = deepcopy(before)
        resumed.restore(given)
        resumed.advance(2)
        assert_same(given, before)

    def test_who_predicts_is_in_evaluation_mode_after_an_epoch(self, begin: Begin) -> None:
        learner = begin()
        learner.advance(1)
        assert predicts_as_evaluated(learner)

    def test_a_probe_leaves_a_snapshot_as_large_as_one_after_an_epoch(self, begin: Begin) -> None:
        learner = begin()
        learner.advance(1)
        probe = begin().probe()
        assert probe.epoch_seconds > 0
        found, expected = read_again(probe.snapshot), read_again(learner.snapshot())
        assert layout(vars(found)) == layout(vars(expected))
