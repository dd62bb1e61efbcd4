"""A file of configurations: what it may have, and the space that it makes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from datasets.errors import InputError
from engine.configurations import listed_space, read_configurations
from engine.space import Space
from trainables.models.gnn import GNNConfig
from trainables.models.world_model import WorldModelConfig, homework


def space_of(listed: Sequence[Mapping[str, Any]], **given: list[Any]) -> Space:
    return listed_space(GNNConfig, "family", listed, given, None)


def read(folder: Path, text: str) -> list[dict[str, Any]]:
    file = folder / "c.json"
    file.write_text(text)
    return read_configurations(file, GNNConfig)


def test_the_fields_of_a_file_have_their_types(tmp_path: Path) -> None:
    (first, second) = read(
        tmp_path, '[{"depth": 4, "dropout": 0, "family": "gin"}, {"standardize": false}]'
    )
    assert first == {"depth": 4, "dropout": 0.0, "family": "gin"}
    assert type(first["dropout"]) is float, "0 and 0.0 would be two values in the log"
    assert second == {"standardize": False}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read (Expecting value"),
        ("[" * 100_000, "cannot be read (maximum recursion depth"),
        ("{}", 'expected a list of objects, such as [{"depth": 3}'),
        ("[]", "expected a list of objects"),
        ("[1]", "expected a list of objects"),
        ('[{}, {"deep": 1}]', "the configuration 2 has 'deep': expected some of averaging, "),
        ('[{"depth": "3"}]', 'the configuration 1: depth is "3": expected a whole number'),
        ('[{"depth": 3.0}]', "depth is 3.0: expected a whole number"),
        ('[{"depth": true}]', "depth is true: expected a whole number"),
        ('[{"depth": null}]', "depth is null: expected a whole number"),
        ('[{"cutoff": NaN}]', "cutoff is NaN: expected a number"),
        ('[{"standardize": 1}]', "standardize is 1: expected true or false"),
        ('[{"family": ["gcn"]}]', 'family is ["gcn"]: expected one of gcn, gat'),
        ('[{"family": "cnn"}]', 'family is "cnn": expected one of gcn, gat'),
    ],
)
def test_a_file_of_anything_else_is_refused_in_one_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)
    assert str(refused.value).startswith("--configurations")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["gone.json", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"--configurations .*: cannot be read \("):
        read_configurations(tmp_path / name, GNNConfig)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"cannot be read .*utf-8"):
        read_configurations(tmp_path / "c.json", GNNConfig)


def test_the_configurations_of_a_file_come_after_the_defaults_each_once() -> None:
    listed = [{"depth": 4}, {"family": "gin", "width": 96}, {"depth": 4}, {"width": 64}]
    space = space_of(listed, epochs=[3])
    assert space.compared == ("gcn", "gin")
    assert space.listed == (
        GNNConfig(epochs=3),
        GNNConfig(epochs=3, family="gin"),
        GNNConfig(epochs=3, depth=4),
        GNNConfig(epochs=3, family="gin", width=96),
    )
    assert [parameter.key for parameter in space.parameters] == ["family"]
    assert (space.epochs, space.largest) == (3, 4)


def test_baselines_and_defaults_of_a_file_that_are_drawn_alike_are_told_apart() -> None:
    space = listed_space(WorldModelConfig, "core", [{"hidden": 48}], {}, homework)
    assert space.listed is not None
    assert space.listed[:2] == (space.baseline("builtin"), space.default("builtin"))
    assert (space.defaults_at(), space.largest) == ([1], 3)


@pytest.mark.parametrize(
    ("listed", "given", "said"),
    [
        ([{"depth": 99}], {}, "the configuration 1: depth is 99: expected 2 to 8 for gcn"),
        ([{}, {"epochs": 3}], {}, "the configuration 2 sets epochs, which .*: leave it out; --ep"),
        ([{"seed": 3}], {}, "the configuration 1 sets seed, which is the same for all"),
        ([{"batch_size": 3}], {"batch_size": [64]}, "leave it out; --batch-size sets it"),
        ([{}], {"width": [32, 48]}, "--configurations and several values of --width: expected"),
        ([{}], {"family": ["gcn", "gin"]}, "several values of --family: expected one value"),
    ],
)
def test_what_does_not_go_with_the_rest_is_refused(
    listed: list[dict[str, Any]], given: dict[str, list[Any]], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        space_of(listed, **given)


def test_a_value_that_is_given_twice_is_one_value() -> None:
    assert space_of([{}], width=[32, 32]).listed == (GNNConfig(width=32),)
