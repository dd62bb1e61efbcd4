"""Both errors of every trial, and which trials no other one beats in both."""

from dataclasses import replace
from typing import get_args

import numpy as np
from recorded_study import study_of, trial

from analysis import style
from analysis.two_aims import LOOKS, draw, edges, errors, front
from record.trial import Report, Trial
from trainables.models.world_model import Core, WorldModelConfig


def trained(number: int, core: Core, one_step: float, dream: float) -> Trial:
    """A trial that has these errors, as shares of those of the baselines."""
    metrics = {"validation/persistence_ratio": one_step, "validation/dream_skill": 1 - dream}
    made = trial(number, WorldModelConfig(core=core), 0.5, metric="validation/r2")
    report = Report(1, 0, 0.25, {**made.reports[0].metrics, **metrics})
    return replace(made, reports=(report,))


def test_every_core_has_a_look_and_a_name() -> None:
    assert {*LOOKS} == {*style.CORES} == {*get_args(Core)}


def test_the_front_has_what_no_other_beats_in_both() -> None:
    points = [(0.2, 0.9), (0.1, 1.2), (0.3, 0.5), (0.25, 0.95), (0.4, 0.5), (0.5, 0.7)]
    assert front(points) == [(0.1, 1.2), (0.2, 0.9), (0.3, 0.5)]


def test_of_equal_ones_one_is_on_the_front() -> None:
    assert front([(0.2, 0.9), (0.2, 0.9), (0.2, 0.8)]) == [(0.2, 0.8)]
    assert front([]) == []


def test_the_axes_end_a_little_above_the_baselines() -> None:
    assert edges([(0.2, 0.6), (4.1, 1.4)]) == (1.1, 1.1)
    assert edges([(3.0, 2.0), (4.0, 0.1)]) == (4.5, 1.1)


def test_large_errors_are_drawn_at_the_edge_and_the_others_where_they_are() -> None:
    trials = [
        trained(0, "builtin", 0.2, 0.6),
        trained(1, "builtin", 4.1, 0.7),
        trained(2, "scratch", 0.3, 1.4),
    ]
    (axis,) = draw(study_of(trials)).axes
    drawn = {line.get_label(): line.get_xydata() for line in axis.get_lines()}
    edge = edges([errors(each) for each in trials])
    assert edge == (1.1, 1.1) == (axis.get_xlim()[1], axis.get_ylim()[1])
    lstm = [(0.2, 0.6), (edge[0], 0.7)]
    np.testing.assert_allclose(np.array(drawn[style.title("builtin")]), lstm)
    np.testing.assert_allclose(np.array(drawn[style.title("scratch")]), [(0.3, edge[1])])
