"""The search space read off the annotations, and what the user takes out of it."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from datasets.errors import InputError
from studies.space import Space, parameters_of
from trainables.models.gnn import GNNConfig, homework


def space_of(**given: list[object]) -> Space:
    return Space.of(GNNConfig, "family", given)


def keys(space: Space) -> list[str]:
    return [parameter.key for parameter in space.parameters]


def suggest(space: Space, **values: object) -> GNNConfig:
    config = space.suggest(optuna.trial.FixedTrial(values))  # pyright: ignore[reportArgumentType]
    assert isinstance(config, GNNConfig)
    return config


EVERYTHING = {
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "weight_decay": 1e-3,
    "batch_size": 32,
    "width": 40,
    "normalization": "batch",
    "dropout": 0.1,
    "head": "mean",
}


def test_every_annotated_field_is_searched_under_its_own_name() -> None:
    fields = {parameter.field for parameter in parameters_of(GNNConfig)}
    assert fields == {*EVERYTHING, "family", "depth", "heads", "edges", "cutoff"}
    assert {"epochs", "seed", "standardize", "raw_positions"}.isdisjoint(fields)


def test_a_field_with_two_ranges_has_two_names_and_one_value() -> None:
    space = space_of()
    shallow = suggest(space, **EVERYTHING, family="gcn", edges="bonds", depth=5)
    deep = suggest(space, **EVERYTHING, family="deepgcn", edges="bonds", depth_deepgcn=28)
    assert (shallow.depth, deep.depth) == (5, 28)


def test_a_parameter_whose_condition_fails_is_not_asked_for() -> None:
    # FixedTrial raises on a parameter that it does not have.
    config = suggest(space_of(), **EVERYTHING, family="gin", edges="bonds", depth=2)
    assert (config.heads, config.cutoff) == (GNNConfig().heads, GNNConfig().cutoff)
    with pytest.raises(ValueError, match="cutoff"):
        suggest(space_of(), **EVERYTHING, family="gin", edges="distances", depth=2)


def test_a_given_value_is_fixed_and_no_longer_searched() -> None:
    space = space_of(width=[48], family=["gat"])
    assert {"width", "family", "depth_deepgcn"}.isdisjoint(keys(space))
    assert "heads" in keys(space)
    config = suggest(space, **{**EVERYTHING, "width": 1}, edges="bonds", depth=2, heads=4)
    assert (config.width, config.family, config.heads) == (48, "gat", 4)


def test_several_given_values_restrict_the_choices() -> None:
    space = space_of(family=["gcn", "gin"])
    assert space.compared == ("gcn", "gin")
    assert {"heads", "depth_deepgcn"}.isdisjoint(keys(space))
    (family,) = [p for p in space.parameters if p.field == "family"]
    assert isinstance(family.distribution, CategoricalDistribution)


def test_the_baselines_are_the_defaults_of_each_family() -> None:
    for family, params in zip(space_of().compared, space_of().baselines(), strict=True):
        assert suggest(space_of(), **params) == GNNConfig(family=family)


def test_a_baseline_takes_the_first_choice_where_its_own_was_left_out() -> None:
    baseline = space_of(normalization=["none", "batch"]).baselines()[0]
    assert baseline["normalization"] == "none"


def test_a_preset_decides_everything_but_the_family_and_what_the_user_gave() -> None:
    space = Space.of(GNNConfig, "family", {"epochs": [3]}, homework)
    assert keys(space) == ["family"]
    config = suggest(space, family="gin")
    assert config == GNNConfig(**{**homework("gin"), "epochs": 3})  # pyright: ignore[reportArgumentType]
    assert space.epochs == 3


def test_equal_spaces_are_described_equally_and_different_ones_differently() -> None:
    assert space_of().describe() == space_of().describe()
    assert space_of(width=[64]).describe() != space_of().describe()
    assert space_of(family=["gcn", "gin"]).describe() != space_of().describe()


def test_a_fixed_value_that_goes_with_no_default_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="depth is 20: expected 2 to 8 for gcn"):
        space_of(depth=[20])
    assert space_of(depth=[20], family=["deepgcn"]).compared == ("deepgcn",)
