"""Both errors of every trial, and which trials no other one beats in both."""

from typing import get_args

from analysis import style
from analysis.two_aims import LOOKS, edges, front
from trainables.models.world_model import Core


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
