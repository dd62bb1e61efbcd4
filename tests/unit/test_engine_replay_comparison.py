"""When the numbers of a trial count as the same: on the CPU, and where a GPU trained."""

import math
from typing import Any

import pytest

from engine.replay_comparison import Numbers

RECORDED = {epoch: {"validation/r2": 0.5, "train/loss": 1.0} for epoch in (1, 2, 3)}


def numbers(*factors: float, **known: Any) -> Numbers:
    """The losses are these times as large now."""
    now = {
        epoch: {"validation/r2": 0.5, "train/loss": factor}
        for epoch, factor in enumerate(factors, start=1)
    }
    return Numbers("validation/r2", RECORDED, now, **known)


def verdict(found: Numbers) -> str:
    return found.text().splitlines()[-1]


def test_on_the_cpu_the_last_bit_counts() -> None:
    assert verdict(numbers(1, 1, 1)) == "numbers: bit for bit the same, 2 metrics of 3 epochs"
    assert numbers(1, 1 + 2**-52, 1).difference() == (
        "they first differ in epoch 2: train/loss 1.0 recorded, 1.0000000000000002 now"
    )


def test_where_a_gpu_trained_the_median_epoch_counts() -> None:
    assert verdict(numbers(1, 1, 1, exact=False)).startswith("numbers: bit for bit the same")
    for off in (1.125, 0.875):
        found = numbers(1, off, 4, exact=False)
        assert found.difference() is None
        assert verdict(found) == (
            "numbers: the same within 20%, 2 metrics of 3 epochs: in the median epoch train/loss "
            "is furthest off, 12% (a GPU adds in no fixed order)"
        )
    assert numbers(1, 1.25, 1.5, exact=False).difference() == (
        "not the same within 20%: in the median epoch train/loss is 25% off (a GPU adds in no "
        "fixed order)"
    )


@pytest.mark.parametrize("off", [math.nan, math.inf])
def test_what_is_no_number_is_not_near(off: float) -> None:
    said = numbers(off, off, 1, exact=False).difference()
    assert said is not None
    assert "train/loss cannot be compared" in said


def test_a_metric_that_is_there_no_more_is_not_near() -> None:
    now = {epoch: {"validation/r2": 0.5} for epoch in RECORDED}
    said = Numbers("validation/r2", RECORDED, now, exact=False).difference()
    assert said is not None
    assert "train/loss cannot be compared" in said


def test_an_epoch_that_is_there_no_more_is_told_in_either_way() -> None:
    for exact in (True, False):
        found = numbers(1, 1, problem="loss nan", exact=exact)
        assert found.difference() == "there is no epoch 3 now: loss nan"


def test_a_value_of_zero_is_near_to_itself_only() -> None:
    zero = {1: {"validation/r2": 0.0, "train/loss": 1.0}}
    for value, same in ((0.0, True), (1e-9, False)):
        now = {1: {"validation/r2": value, "train/loss": 1.1}}
        assert (Numbers("validation/r2", zero, now, exact=False).difference() is None) == same
