"""A searched quantity as it is recorded, and which of a trial's values count as one of it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from engine.space import parameters_of
from record.values import from_json, plain, to_json
from trainables.config import When
from trainables.models.gnn import GNNConfig
from trainables.models.world_model import WorldModelConfig
from trainables.parameter import Parameter

EVERY = [*parameters_of(GNNConfig), *parameters_of(WorldModelConfig)]


def test_what_was_recorded_is_the_same_parameter_again() -> None:
    for parameter in EVERY:
        told = plain(parameter.record())
        assert Parameter.recorded(told) == parameter
        assert Parameter.recorded(from_json(json.loads(json.dumps(to_json(told))))) == parameter


def test_a_study_that_is_going_on_finds_its_space_recorded_as_it_was() -> None:
    """Another form would be another question to `engine.session.refuse_another`."""
    parameter = Parameter("depth_deep", "depth", IntDistribution(2, 28, log=True), WHEN)
    assert json.loads(json.dumps(parameter.record())) == {
        "key": "depth_deep",
        "field": "depth",
        "distribution": {
            "name": "IntDistribution",
            "attributes": {"log": True, "step": 1, "low": 2, "high": 28},
        },
        "when": {"field": "family", "values": ["deep", "deeper"]},
    }
    assert Parameter("depth", "depth", IntDistribution(2, 6), None).record()["when"] is None


WHEN = When("family", ("deep", "deeper"))
CHOICES, WHOLE = CategoricalDistribution((16, 32)), IntDistribution(1, 8)
REAL = FloatDistribution(1e-4, 1e-1, log=True)


@pytest.mark.parametrize(
    ("distribution", "config", "value"),
    [
        (WHOLE, {"family": "deep", "x": 8}, 8),
        (WHOLE, {"family": "deeper", "x": 1}, 1),
        (WHOLE, {"family": "flat", "x": 8}, None),
        (WHOLE, {"x": 8}, None),
        (WHOLE, {"family": "deep", "x": 9}, None),
        (WHOLE, {"family": "deep"}, None),
        (REAL, {"family": "deep", "x": 1e-4}, 1e-4),
        (REAL, {"family": "deep", "x": 0.0}, None),
        (CHOICES, {"family": "deep", "x": 32}, 32),
        (CHOICES, {"family": "deep", "x": 24}, None),
    ],
)
def test_a_value_counts_where_it_applies_and_lies_inside(
    distribution: BaseDistribution, config: Mapping[str, Any], value: Any
) -> None:
    assert Parameter("x", "x", distribution, WHEN).value(config) == value


@pytest.mark.parametrize(
    ("distribution", "lowest", "highest", "between"),
    [
        (IntDistribution(2, 8), 2, 8, 3),
        (IntDistribution(1, 8), None, 8, 1),
        (FloatDistribution(0.0, 1.0), None, 0.99, 0.0),
        (FloatDistribution(1e-4, 1.0, log=True), 1.1e-4, 0.9, 2e-4),
        (IntDistribution(4, 4), None, None, 4),
        (CHOICES, None, None, 16),
    ],
)
def test_an_end_of_a_range_is_named(
    distribution: BaseDistribution, lowest: Any, highest: Any, between: Any
) -> None:
    parameter = Parameter("x", "x", distribution, None)
    assert parameter.edge(None) is None
    assert parameter.edge(between) is None
    assert lowest is None or parameter.edge(lowest) == "lowest"
    assert highest is None or parameter.edge(highest) == "highest"
