"""Reads a JSON file of configurations; fields that a configuration omits have their defaults."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from datasets.errors import InputError, described
from engine.space import Fields, Space, distinct
from trainables.config import TrialConfig

EXAMPLE = '[{"depth": 3}, {"depth": 4}]'


def read_configurations(file: Path, config: type[TrialConfig]) -> list[dict[str, Any]]:
    """Reads the fields that each configuration of a JSON file sets.

    Args:
        file: The file.
        config: Dataclass of the hyperparameters.

    Raises:
        InputError: If the file cannot be read, is not a non-empty list of objects, or has an
            unknown field or a value of the wrong type.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"--configurations {file}: cannot be read ({described(error)})"
        ) from error
    if not isinstance(found, list) or not found or not all(isinstance(c, dict) for c in found):
        raise InputError(f"--configurations {file}: expected a list of objects, such as {EXAMPLE}")
    hints = get_type_hints(config)
    hints = {field.name: hints[field.name] for field in fields(config)}
    return [_typed(place, each, hints) for place, each in enumerate(found, start=1)]


def listed_space(
    config: type[TrialConfig],
    group_by: str,
    listed: Sequence[Mapping[str, Any]],
    given: Mapping[str, Sequence[Any]],
    reference: Fields | None,
) -> Space:
    """Returns the space that consists of the listed configurations.

    Args:
        config: Dataclass of the hyperparameters.
        group_by: Config field whose values are compared.
        listed: Fields that each configuration sets.
        given: Values of the fields that the user or the data set for all configurations.
        reference: Returns the baseline's fields for a value of `group_by`, see `Space`.

    Raises:
        InputError: If a configuration is invalid, or sets a field of `given`, the number of epochs
            or the seed, which are the same for all; or if `given` has several values for a field.
    """
    given = distinct(given)
    if several := [name for name, values in given.items() if len(values) > 1]:
        raise InputError(
            f"--configurations and several values of {_flag(several[0])}: expected one value, "
            "which is the same for all, or none"
        )
    fixed = {name: values[0] for name, values in given.items()}
    configs = [_made(config, place, each, fixed) for place, each in enumerate(listed, start=1)]
    compared = list(dict.fromkeys(getattr(each, group_by) for each in configs))
    return Space.of(
        config, group_by, {**given, group_by: compared}, None, reference, only=()
    ).listing(configs)


def _typed(place: int, values: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := values.keys() - hints.keys():
        raise InputError(
            f"--configurations: the configuration {place} has {min(unknown)!r}: expected some of "
            f"{', '.join(sorted(hints))}"
        )
    typed = {}
    for name, value in values.items():
        expected = _expected(value, hints[name])
        if expected:
            raise InputError(
                f"--configurations: the configuration {place}: {name} is {json.dumps(value)}: "
                f"expected {expected}"
            )
        is_float = float in (hints[name], *get_args(hints[name])) and type(value) is int
        typed[name] = float(value) if is_float else value
    return typed


def _expected(value: Any, hint: Any) -> str:
    """Describes the type that a field should have; empty if the value has that type."""
    if get_origin(hint) in (UnionType, Union):
        expected = [_expected(value, each) for each in get_args(hint)]
        return " or ".join(expected) if all(expected) else ""
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return "" if value in choices else f"one of {', '.join(map(str, choices))}"
    is_one, name = {
        NoneType: (value is None, "null"),
        bool: (type(value) is bool, "true or false"),
        int: (type(value) is int, "a whole number"),
        float: (type(value) in (int, float) and math.isfinite(value), "a number"),
        str: (type(value) is str, "text"),
    }[hint]
    return "" if is_one else name


def _made(
    config: type[TrialConfig], place: int, values: Mapping[str, Any], fixed: Mapping[str, Any]
) -> TrialConfig:
    if clash := values.keys() & {"epochs", "seed", *fixed}:
        raise InputError(
            f"--configurations: the configuration {place} sets {min(clash)}, which is the same "
            f"for all: leave it out; {_flag(min(clash))} sets it"
        )
    try:
        return config(**{**fixed, **values})
    except InputError as error:
        raise InputError(f"--configurations: the configuration {place}: {error}") from error


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")
