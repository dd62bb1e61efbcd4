"""The search space read off the annotations, and what the user takes out of it."""

from dataclasses import asdict
from typing import Any

import optuna
import pytest
from old_proposals import RECORDINGS, recorded
from optuna.distributions import CategoricalDistribution

import engine.space
from datasets.errors import InputError
from engine.space import Space, parameters_of
from trainables.config import TrialConfig
from trainables.models.families import FAMILIES
from trainables.models.gnn import GNNConfig, homework
from trainables.models.node_classifier import NodeConfig
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


def numbered(space: Space, number: int, values: dict[str, object]) -> TrialConfig:
    """What a trial of this number would be."""
    return space.suggest(optuna.trial.FixedTrial(values, number), number)  # pyright: ignore[reportArgumentType]


EVERYTHING = {
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "weight_decay": 1e-3,
    "batch_size": 32,
    "width": 40,
    "normalization": "batch",
    "dropout": 0.1,
    "head": "mean",
    "loss": "huber",
}


def test_every_annotated_field_is_searched_under_its_own_name() -> None:
    fields = {parameter.field for parameter in parameters_of(GNNConfig)}
    assert fields == {*EVERYTHING, "family", "depth", "heads", "edges", "cutoff"}
    assert {"epochs", "seed", "standardize", "raw_positions"}.isdisjoint(fields)


SEARCHED: dict[type[TrialConfig], list[str]] = {
    GNNConfig: [
        *("learning_rate", "schedule", "weight_decay", "batch_size", "family", "width"),
        *("normalization", "dropout", "edges", "head", "loss", "depth", "depth_deepgcn", "heads"),
        "cutoff",
    ],
    WorldModelConfig: [
        *("learning_rate", "batch_size", "core", "hidden", "layers", "sequence_length"),
        *("one_step_weight", "sampling_rate", "noise", "window"),
    ],
}
"""What is searched, in the order in which Optuna is asked."""


@pytest.mark.parametrize("config", SEARCHED)
def test_the_order_in_which_optuna_is_asked_stays(config: type[TrialConfig]) -> None:
    """Its samplers draw one after the other: in another order a seed proposes something else."""
    assert [parameter.key for parameter in parameters_of(config)] == SEARCHED[config]


@pytest.mark.parametrize("name", RECORDINGS)
def test_it_is_the_order_of_the_proposals_that_were_written_down(name: str) -> None:
    drawn = [happening["drawn"] for happening in recorded(name) if "drawn" in happening]
    assert len(drawn) == 200
    for each in drawn:
        assert [*each] == [key for key in SEARCHED[GNNConfig] if key in each]


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
    space = space_of(normalization=["none", "batch"])
    assert space.first()[0]["normalization"] == "none"
    config = space.baseline("gcn")
    assert config == numbered(space, 0, space.first()[0]) == space.default("gcn")
    assert config == GNNConfig(normalization="none")


def test_a_preset_decides_everything_but_the_family_and_what_the_user_gave() -> None:
    space = Space.of(GNNConfig, "family", {"epochs": [3]}, homework)
    assert keys(space) == ["family"]
    config = suggest(space, family="gin")
    assert config == GNNConfig(**{**homework("gin"), "epochs": 3})
    assert space.epochs == 3


def with_reference(**given: list[object]) -> Space:
    return Space.of(WorldModelConfig, "core", given, reference=lstm_homework)


def test_a_reference_configuration_is_the_baseline_and_the_defaults_come_after_it() -> None:
    space = with_reference()
    for number, core in enumerate(space.compared):
        expected = WorldModelConfig(**lstm_homework(core))
        assert space.baseline(core) == expected
        # Fields that are not searched, such as the clipping, are those of the reference too.
        assert numbered(space, number, space.first()[number]) == expected
    for number, core in enumerate(space.compared, start=3):
        assert numbered(space, number, space.first()[number]) == WorldModelConfig(core=core)
    assert len(space.first()) == 6
    assert [space.is_baseline(number) for number in range(6)] == [True] * 3 + [False] * 3


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
    assert len(space.first()) == 3


def test_a_fixed_value_that_goes_with_no_default_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="depth is 20: expected 2 to 8 for gcn"):
        space_of(depth=[20])
    assert space_of(depth=[20], family=["deepgcn"]).compared == ("deepgcn",)


def test_of_a_range_several_given_numbers_are_choices() -> None:
    space = space_of(width=[48, 32], learning_rate=[1e-3, 2e-3])
    width = next(p for p in space.parameters if p.field == "width")
    assert width.distribution == CategoricalDistribution((48, 32))
    config = suggest(space, **{**EVERYTHING, "width": 32}, family="gin", edges="bonds", depth=2)
    assert (config.width, config.learning_rate) == (32, 1e-3)
    assert {c.width for c in map(space.default, space.compared)} == {48}  # pyright: ignore[reportAttributeAccessIssue]


def test_several_values_of_a_field_that_is_not_searched_are_choices() -> None:
    space = space_of(gradient_clip=[0.5, 2.0])
    assert "gradient_clip" in keys(space)
    assert space.first()[0]["gradient_clip"] == 0.5
    more = {**EVERYTHING, "gradient_clip": 2.0}
    assert suggest(space, **more, family="gin", edges="bonds", depth=2).gradient_clip == 2.0


def test_the_extremes_of_several_given_numbers_are_their_ends() -> None:
    space = space_of(width=[48, 96, 40])
    assert [space.extreme("gcn", end).width for end in (min, max)] == [40, 96]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "given",
    [
        {"dropout": [0.1, 1.5]},
        {"learning_rate": [1e-3, float("nan")]},
        {"depth": [3, 20], "family": ["gcn", "deepgcn"]},
    ],
)
def test_each_of_several_given_values_is_checked_at_once(given: dict[str, list[object]]) -> None:
    with pytest.raises(InputError, match=r"(dropout is 1.5|learning_rate is nan|depth is 20)"):
        space_of(**given)


def test_given_values_that_do_not_go_together_are_refused_though_the_ends_do() -> None:
    both = {"context": [5, 12], "sequence_length": [10, 20]}
    with pytest.raises(InputError, match="context is 12: expected less than sequence_length"):
        Space.of(WorldModelConfig, "core", both)


def grid(**given: list[object]) -> Space:
    return Space.of(GNNConfig, "family", given, only=given).grid()


def told(space: Space, *names: str) -> list[tuple[Any, ...]]:
    """Some fields of what is listed."""
    assert space.listed is not None
    return [tuple(getattr(config, name) for name in names) for config in space.listed]


def test_a_grid_has_all_combinations_once_and_the_defaults_first() -> None:
    space = grid(family=["gin", "gcn"], width=[32, 64], gradient_clip=[0.5, 1.0], depth=[4])
    assert told(space, "family", "width", "gradient_clip", "depth") == [
        ("gin", 64, 1.0, 4),
        ("gcn", 64, 1.0, 4),
        ("gin", 32, 0.5, 4),
        ("gin", 64, 0.5, 4),
        ("gin", 32, 1.0, 4),
        ("gcn", 32, 0.5, 4),
        ("gcn", 64, 0.5, 4),
        ("gcn", 32, 1.0, 4),
    ]
    assert space.largest == 8
    assert space.defaults_at() == [0, 1]
    assert keys(space) == ["gradient_clip", "family", "width"]


def test_a_field_that_does_not_apply_takes_no_part_in_a_grid() -> None:
    space = grid(family=["gcn", "gat"], heads=[1, 3, 4])
    assert told(space, "family", "heads") == [("gcn", 2), ("gat", 1), ("gat", 3), ("gat", 4)]
    assert space.listed is not None
    assert [space.drawn(config) for config in space.listed[:2]] == [
        {"family": "gcn"},
        {"family": "gat", "heads": 1},
    ]


def test_a_condition_within_a_grid_is_that_of_each_combination() -> None:
    space = grid(family=["gin"], edges=["bonds", "distances"], cutoff=[3.0, 5.0])
    assert told(space, "edges", "cutoff") == [
        ("distances", 3.0),
        ("bonds", GNNConfig().cutoff),
        ("distances", 5.0),
    ]


def test_a_grid_that_leaves_a_default_out_does_not_try_it() -> None:
    space = grid(family=["gcn"], width=[32, 48])
    assert told(space, "width") == [(32,), (48,)]
    assert space.default("gcn") == space.baseline("gcn") == GNNConfig(width=32)


def test_the_baselines_of_a_grid_come_before_the_defaults() -> None:
    given = {"core": ["builtin"], "hidden": [32, 64]}
    space = Space.of(WorldModelConfig, "core", given, None, lstm_homework, only=given).grid()
    published, default, *others = told(space, "hidden", "gradient_clip")
    assert published == (32, lstm_homework("builtin")["gradient_clip"])
    assert [default, *others] == [(32, 1.0), (64, 1.0)]
    assert (space.defaults_at(), space.largest) == ([1], 3)


def test_a_grid_over_a_preset_changes_what_is_given_alone() -> None:
    given = {"width": [16, 32]}
    space = Space.of(GNNConfig, "family", given, homework, only=given).grid()
    expected = [
        {**homework(family), "width": width} for family, width in told(space, "family", "width")
    ]
    assert space.listed == tuple(GNNConfig(**each) for each in expected)  # pyright: ignore[reportArgumentType]
    assert len(expected) == 2 * len(FAMILIES)


def test_a_preset_that_is_not_a_grid_takes_one_value_of_a_field() -> None:
    with pytest.raises(InputError, match="--preset and several values of --width: expected one"):
        Space.of(GNNConfig, "family", {"width": [16, 32]}, homework)


def test_a_combination_of_a_grid_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="depth is 20: expected 2 to 8 for gcn"):
        grid(family=["deepgcn", "gcn"], depth=[3, 20])


def test_a_grid_that_is_too_large_is_refused_before_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine.space, "MANY", 6)
    given: dict[str, list[object]] = {"family": ["gcn"], "width": [32, 40, 48]}
    assert grid(**given, batch_size=[32, 64]).largest == 6
    with pytest.raises(InputError, match="--sampler grid: expected at most 6 configurations"):
        grid(**given, batch_size=[32, 64, 128])


def test_the_largest_and_the_smallest_of_listed_configurations_are_among_them() -> None:
    listed = [
        GNNConfig(width=128, depth=2, seed=9**9),
        GNNConfig(width=96, depth=6),
        GNNConfig(width=32, depth=2),
        GNNConfig(family="gin"),
    ]
    space = space_of(family=["gcn", "gin"]).listing(listed)
    assert [space.extreme("gcn", end) for end in (max, min)] == [listed[1], listed[2]]
    assert space.extreme("gin", max) == space.extreme("gin", min) == listed[3]


def test_a_default_outside_of_a_conditional_range_is_moved_to_its_nearer_end() -> None:
    """appnp and gcn2 have 8 layers or more; the default of the others is 2."""
    space = Space.of(NodeConfig, "family", {})
    layers = [asdict(space.default(family))["layers"] for family in space.compared]
    assert layers == [2, 2, 8, 8, 2]
    fixed = Space.of(NodeConfig, "family", {"layers": (3,)})
    assert asdict(fixed.default("gcn2"))["layers"] == 3
