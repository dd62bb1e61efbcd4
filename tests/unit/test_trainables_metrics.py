"""Metrics against numbers worked out by hand, and against scikit-learn's definition."""

import pytest
import torch
from torch import Tensor

from trainables.metrics import mae, mse, r2

TARGET = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)
PREDICTION = torch.tensor([2.0, 2.0, 1.0, 5.0], dtype=torch.float64)
"""Errors 1, 0, -2, -1. The target's mean is 3, its deviations -2, -1, 0, 3."""


def test_metrics_are_those_worked_out_by_hand():
    assert mse(PREDICTION, TARGET) == (1 + 0 + 4 + 1) / 4
    assert mae(PREDICTION, TARGET) == (1 + 0 + 2 + 1) / 4
    # 6 and 14 are exact; 1 - 6 / 14 is rounded once or twice.
    assert r2(PREDICTION, TARGET) == pytest.approx(1 - 6 / (4 + 1 + 0 + 9), rel=1e-15)


def test_r2_is_about_the_mean_of_the_target_not_of_the_prediction():
    """About the prediction's mean, 2.5, SS_tot would be 15 and not 14; swapped, R² 1 - 6 / 9."""
    assert r2(TARGET, PREDICTION) == pytest.approx(1 - 6 / 9, rel=1e-15)


def test_r2_of_a_perfect_fit_is_1():
    assert r2(TARGET, TARGET) == 1


def test_r2_of_predicting_the_mean_is_0():
    assert r2(torch.full((4,), 3.0, dtype=torch.float64), TARGET) == 0


def test_r2_of_worse_than_the_mean_is_negative():
    assert r2(-TARGET, TARGET) == pytest.approx(1 - 4 * (1 + 4 + 9 + 36) / 14, rel=1e-15)


def test_r2_does_not_depend_on_the_unit():
    shifted = r2(PREDICTION * 4 + 100, TARGET * 4 + 100)  # a power of two: no rounding
    assert shifted == r2(PREDICTION, TARGET)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 3, 7, 10, 100])
@pytest.mark.parametrize("value", [0.0, 0.1, 1.7, 3.3])
def test_r2_of_a_constant_target_is_undefined(value, count, dtype):
    """Also where the mean of equal numbers is rounded and their deviations are some 1e-17."""
    target = torch.full((count,), value, dtype=dtype)
    with pytest.raises(ValueError, match=rf"R² is undefined: all {count} targets equal {value:g}"):
        r2(target + 1, target)


@pytest.mark.parametrize("metric", [mse, mae, r2])
def test_a_prediction_that_is_not_a_number_gives_no_number(metric):
    spoilt = PREDICTION.clone()
    spoilt[2] = torch.nan
    assert metric(spoilt, TARGET) != metric(spoilt, TARGET)


@pytest.mark.parametrize("metric", [mse, mae, r2])
def test_metrics_are_plain_numbers(metric):
    value = metric(PREDICTION, TARGET)
    assert isinstance(value, float) and not isinstance(value, Tensor)
