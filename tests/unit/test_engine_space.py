"""The search space read off the annotations, and what the user takes out of it."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from datasets.errors import InputError
from engine.space import Space, parameters_of
from trainables.config import FitConfig
from trainables.models.gnn import GNNConfig, homework
from trainables.models.world_model import WorldModelConfig
from trainables.models.world_model import homework as lstm_homework


def space_of(**given: list[object]) -> Space:
    return Space.of(GNNConfig, "family", given)


def keys(space: Space) -> list[str]:
    return [parameter.key for parameter in space.parameters]


def suggest(space: Space, **values: object) -> GNNConfig:
    config = numbered(space, 0, values)
    assert isinstance(config, GNNConfig)
    return config


def numbered(space: Space, number: int, values: dict[str, object]) -> FitConfig:
    """What a trial of this number would be."""
    return space.suggest(optuna.trial.FixedTrial(values, number))  # pyright: ignore[reportArgumentType]


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
    for family, params in zip(space_of().compared, space_of().first(), strict=True):
        assert suggest(space_of(), **params) == GNNConfig(family=family)


def test_a_baseline_takes_the_first_choice_where_its_own_was_left_out() -> None:
    baseline = space_of(normalization=["none", "batch"]).first()[0]
    assert baseline["normalization"] == "none"


def test_a_preset_decides_everything_but_the_family_and_what_the_user_gave() -> None:
    space = Space.of(GNNConfig, "family", {"epochs": [3]}, homework)
    assert keys(space) == ["family"]
    config = suggest(space, family="gin")
    assert config == GNNConfig(**{**homework("gin"), "epochs": 3})  # pyright: ignore[reportArgumentType]
    assert space.epochs == 3


def with_reference(**given: list[object]) -> Space:
    return Space.of(WorldModelConfig, "core", given, reference=lstm_homework)


def test_a_reference_configuration_is_the_baseline_and_the_defaults_come_after_it() -> None:
    space = with_reference()
    for number, core in enumerate(space.compared):
        expected = WorldModelConfig(**lstm_homework(core))  # pyright: ignore[reportArgumentType]
        assert space.baseline(core) == expected
        # Fields that are not searched, such as the clipping, are those of the reference too.
        assert numbered(space, number, space.first()[number]) == expected
    for number, core in enumerate(space.compared, start=2):
        assert numbered(space, number, space.first()[number]) == WorldModelConfig(core=core)
    assert len(space.first()) == 4
    assert [space.is_baseline(number) for number in range(4)] == [True, True, False, False]


def test_without_a_reference_the_defaults_are_the_baselines_and_are_tried_once() -> None:
    assert len(space_of().first()) == len(space_of().compared)


def test_what_the_user_gave_holds_for_the_reference_too() -> None:
    space = with_reference(hidden=[32], core=["scratch"])
    assert (space.baseline("scratch").core, space.baseline("scratch").hidden) == ("scratch", 32)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(InputError, match="context is 10: expected less than sequence_length"):
        with_reference(context=[10])


def test_a_preset_leaves_no_room_for_another_baseline() -> None:
    space = Space.of(WorldModelConfig, "core", {}, lstm_homework, lstm_homework)
    assert space.baseline("builtin") == space.default("builtin")
    assert len(space.first()) == 2


def test_equal_spaces_are_described_equally_and_different_ones_differently() -> None:
    assert space_of().describe() == space_of().describe()
    assert space_of(width=[64]).describe() != space_of().describe()
    assert space_of(family=["gcn", "gin"]).describe() != space_of().describe()


def test_a_fixed_value_that_goes_with_no_default_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="depth is 20: expected 2 to 8 for gcn"):
        space_of(depth=[20])
    assert space_of(depth=[20], family=["deepgcn"]).compared == ("deepgcn",)
