"""The rungs that are recorded are those at which Ray's scheduler stops trials."""

import pytest
from ray.tune.schedulers.async_hyperband import _Bracket

from engine.rungs import REDUCTION, first_rung, rungs


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 15, 16, 50, 100])
def test_they_are_those_of_rays_scheduler(epochs: int) -> None:
    bracket = _Bracket(min_t=first_rung(epochs), max_t=epochs, reduction_factor=REDUCTION, s=0)
    theirs = sorted(epoch for epoch, _ in bracket._rungs if epoch < epochs)
    assert rungs(epochs) == theirs


def test_a_study_may_have_its_first_rung_later() -> None:
    assert rungs(25, 0.4) == [10, 20]
    assert rungs(20, 0.5) == [10]
    assert rungs(20, 1.0) == []
