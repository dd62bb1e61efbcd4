"""The schedules of Bengio et al. 2015, scaled to run from 0 to the rate."""

import math
from typing import get_args

import pytest

from trainables.scheduled_sampling import Rise, sampling_rate

RISES = get_args(Rise)


@pytest.mark.parametrize("rise", RISES)
def test_every_schedule_ends_at_the_rate(rise: Rise) -> None:
    assert sampling_rate(rise, 0.7, 1.0) == pytest.approx(0.7, abs=1e-12)


@pytest.mark.parametrize("rise", [rise for rise in RISES if rise != "constant"])
def test_every_schedule_but_the_constant_one_begins_at_nothing_and_never_falls(rise: Rise) -> None:
    course = [sampling_rate(rise, 0.7, step / 50) for step in range(51)]
    assert course[0] == pytest.approx(0, abs=1e-12)
    assert course == sorted(course)
    assert course[0] < course[25] < course[50]


def test_the_constant_schedule_is_the_rate_from_the_first_step() -> None:
    assert sampling_rate("constant", 0.7, 0.0) == sampling_rate("constant", 0.7, 0.5) == 0.7


def test_the_schedules_have_their_published_shapes() -> None:
    """Halfway: linear at a half, exponential past it, the inverse sigmoid at its middle; and a
    quarter of the way in, the inverse sigmoid has hardly begun."""
    half = {rise: sampling_rate(rise, 1.0, 0.5) for rise in RISES}
    assert half["linear"] == 0.5
    assert half["inverse_sigmoid"] == pytest.approx(0.5)
    assert half["exponential"] == pytest.approx((1 - math.exp(-2.5)) / (1 - math.exp(-5)))
    early = {rise: sampling_rate(rise, 1.0, 0.25) for rise in RISES}
    assert early["inverse_sigmoid"] < 0.06 < early["linear"] < early["exponential"]


@pytest.mark.parametrize("rise", RISES)
def test_a_rate_of_nothing_stays_nothing(rise: Rise) -> None:
    assert sampling_rate(rise, 0.0, 0.5) == 0
