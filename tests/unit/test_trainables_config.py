"""Hyperparameters: their defaults, their ranges, and what is refused."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, get_args, get_type_hints

import pytest
from family_contracts import KEYS
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from datasets.errors import InputError
from engine.space import parameters_of
from trainables.config import FitConfig, When, at_least
from trainables.models.families import FAMILIES
from trainables.models.family import Family
from trainables.models.gnn import GNNConfig, homework
from trainables.parameter import Parameter

PARAMETERS = parameters_of(GNNConfig)

# What `__init__` calls a value that some field cannot take; the message is `NAME is VALUE: ...`.
BAD_VALUES: list[tuple[str, Any, str]] = [
    ("learning_rate", 0.0, "expected above 0"),
    ("learning_rate", -1e-3, "expected above 0"),
    ("learning_rate", float("nan"), "expected above 0"),
    ("weight_decay", -1e-9, "expected at least 0"),
    ("schedule", "linear", "expected one of constant, cosine"),
    ("warmup", -0.1, "expected 0 to below 1"),
    ("warmup", 1.0, "expected 0 to below 1"),
    ("gradient_clip", -1.0, "expected at least 0"),
    ("averaging", 1.0, "expected 0 to below 1"),
    ("averaging", float("nan"), "expected 0 to below 1"),
    ("precision", "float16", "expected one of float32, bfloat16"),
    ("batch_size", 0, "expected at least 1"),
    ("epochs", 0, "expected at least 1"),
    ("seed", -1, "expected at least 0"),
    ("family", "mpnn", "expected one of gcn, gat, sage, gin, deepgcn, painn"),
    ("depth", 0, "expected 2 to 8 for gcn"),
    ("depth", 9, "expected 2 to 8 for gcn"),
    ("width", 0, "expected at least 1"),
    ("heads", 0, "expected at least 1"),
    ("normalization", "group", "expected one of none, batch, layer"),
    ("dropout", -0.1, "expected 0 to below 1"),
    ("dropout", 1.0, "expected 0 to below 1"),
    ("dropout", float("nan"), "expected 0 to below 1"),
    ("edges", "angles", "expected one of bonds, distances"),
    ("cutoff", 0.0, "expected above 0"),
    ("cutoff", -1.0, "expected above 0"),
    ("head", "sum", "expected one of mean, dipole"),
    ("loss", "absolute", "expected one of squared, huber, mixed"),
]


@pytest.mark.parametrize(("name", "value", "expected"), BAD_VALUES)
def test_a_value_out_of_range_is_refused_by_name(name, value, expected):
    with pytest.raises(InputError) as error:
        GNNConfig(**{name: value})
    assert str(error.value) in (
        f"{name} is {value}: {expected}",
        f"{name} is {value!r}: {expected}",
    )


def test_every_field_that_can_be_wrong_has_an_example_of_it():
    flags = {
        "standardize",
        "hybridization",
        "raw_positions",
        "delta",
    }  # the command line takes only true and false
    assert {name for name, _, _ in BAD_VALUES} == {f.name for f in fields(GNNConfig)} - flags


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "cutoff"])
def test_an_infinite_value_is_refused(name):
    infinite: dict[str, Any] = {name: float("inf")}
    with pytest.raises(InputError, match=f"{name} is inf"):
        GNNConfig(**infinite)


def test_the_bounds_themselves_are_accepted():
    GNNConfig(weight_decay=0.0, batch_size=1, epochs=1, seed=0, depth=2, width=1, dropout=0.0)
    GNNConfig(family="deepgcn", depth=28, dropout=0.99)


def test_the_deepest_depends_on_the_family():
    with pytest.raises(InputError, match="depth is 29: expected 2 to 28 for deepgcn"):
        GNNConfig(family="deepgcn", depth=29)
    with pytest.raises(InputError, match="depth is 9: expected 2 to 8 for gin"):
        GNNConfig(family="gin", depth=9)


def test_at_least_says_whether_the_bound_itself_is_in():
    at_least("size", 1, 1)
    with pytest.raises(InputError, match="size is 0: expected at least 1"):
        at_least("size", 0, 1)
    with pytest.raises(InputError, match="rate is 0: expected above 0"):
        at_least("rate", 0, 0, open_end=True)


def test_a_config_cannot_be_changed():
    with pytest.raises(AttributeError):
        GNNConfig().width = 3  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("family", KEYS)
@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.key)
def test_defaults_lie_in_the_range_that_is_searched(parameter: Parameter, family):
    defaults = asdict(GNNConfig(family=family))
    if parameter.applies(defaults):
        default = defaults[parameter.field]
        assert parameter.distribution._contains(
            parameter.distribution.to_internal_repr(default)
        ), f"{parameter.key} = {default}"


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.key)
def test_a_condition_names_a_searched_choice(parameter: Parameter):
    if parameter.when is None:
        return
    (on,) = [other for other in PARAMETERS if other.field == parameter.when.field]
    assert isinstance(on.distribution, CategoricalDistribution)
    assert set(parameter.when.values) < set(on.distribution.choices)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.key)
def test_what_is_searched_of_a_family_is_allowed(family: Family):
    assert 1 <= family.depth.low <= family.depth.high <= family.deepest
    assert GNNConfig(**homework(family.key)).family == family.key


def test_families_differ_in_key_and_title():
    assert len({family.key for family in FAMILIES}) == len(FAMILIES)
    assert len({family.title for family in FAMILIES}) == len(FAMILIES)


def test_every_family_has_exactly_one_range_of_depth():
    ranges = [parameter for parameter in PARAMETERS if parameter.field == "depth"]
    assert [parameter.key for parameter in ranges] == ["depth", "depth_deepgcn"]
    for family in KEYS:
        assert sum(parameter.applies({"family": family}) for parameter in ranges) == 1


def test_conditional_fields_apply_where_they_mean_something():
    applies = {p.key: p.applies for p in PARAMETERS if p.when is not None}
    assert set(applies) == {"depth", "depth_deepgcn", "heads", "cutoff"}
    assert [applies["heads"]({"family": family}) for family in KEYS] == [
        family == "gat" for family in KEYS
    ]
    assert applies["cutoff"]({"edges": "distances"})
    assert not applies["cutoff"]({"edges": "bonds"})


def extremes(parameter: Parameter) -> list[Any]:
    match parameter.distribution:
        case CategoricalDistribution(choices=choices):
            return list(choices)
        case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
            return [low, high]
    raise TypeError(parameter)


@pytest.mark.parametrize("family", KEYS)
@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.key)
def test_both_ends_of_a_range_are_valid_configs(parameter: Parameter, family):
    config = GNNConfig(family=family)
    if parameter.applies(asdict(config)):
        for value in extremes(parameter):
            if parameter.field != "family":
                replace(config, **{parameter.field: value})


def test_choices_are_searched_in_full():
    """A family or schedule that the config knows but no study tries would be a dead option."""
    searched = {p.field: p.distribution for p in PARAMETERS}
    for name in ("family", "schedule", "normalization", "edges", "head"):
        distribution = searched[name]
        assert isinstance(distribution, CategoricalDistribution)
        literal = get_args(get_type_hints(GNNConfig, include_extras=True)[name])
        assert distribution.choices == get_args(literal[0])


def test_a_condition_is_a_value():
    assert When("family", ("gat",)) == When("family", ("gat",))


@pytest.mark.parametrize("family", KEYS)
def test_the_homework_is_the_published_configuration(family: str):
    """Provenance: shared/references.md, which quotes liblaf/84100343-Deep-Learning, hw2. It has no
    DeepGCN and no PaiNN: these are trained as the others are."""
    config = GNNConfig(**homework(family))
    assert (config.family, config.width, config.epochs, config.batch_size) == (family, 128, 50, 32)
    assert (
        config.depth == {"gcn": 2, "gat": 2, "sage": 2, "gin": 7, "deepgcn": 7, "painn": 2}[family]
    )
    assert config.heads == 4
    assert (config.learning_rate, config.schedule, config.weight_decay) == (1e-3, "constant", 0.0)
    assert (config.edges, config.head, config.dropout) == ("bonds", "mean", 0.0)
    assert config.normalization == ("layer" if family == "deepgcn" else "none")
    assert (config.warmup, config.gradient_clip, config.averaging) == (0.0, 0.0, 0.0)
    assert config.raw_positions and not config.standardize and not config.hybridization


def test_the_title_tells_what_is_tried():
    config = GNNConfig(family="gin", depth=5, width=96, edges="bonds", head="mean")
    assert config.title == "gin 5x96 bonds mean"
    assert FitConfig(learning_rate=2e-3).title == "2.0e-03"


@dataclass(frozen=True)
class Own(FitConfig):
    """Searches what every fit does, and more."""

    learning_rate: Annotated[float, FloatDistribution(1e-5, 1.0)] = 0.5
    """In another range."""

    depth: Annotated[int, IntDistribution(1, 4)] = 2
    """Is searched."""

    dropout: Annotated[float, FloatDistribution(0.0, 1.0)] = 0.25
    """Is searched."""

    folds: int = 7
    """Is set."""


def test_a_title_is_what_is_searched_of_ones_own():
    assert Own().title == "2 0.25"
    assert Own(depth=3, dropout=1 / 3, learning_rate=0.1).title == "3 0.333"
