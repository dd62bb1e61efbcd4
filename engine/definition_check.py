"""Checks the definition of a study before anything runs: a slip in it is one clear line."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from optuna.distributions import BaseDistribution, CategoricalDistribution

from analysis.scorecard import Scorecard
from datasets.errors import InputError
from engine.study import Study
from trainables.config import METRIC, TrialConfig, When

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""What the key of a study looks like; folders and runs in MLflow are named after it."""

RANGES = "expected Whole(...), Real(...) or Choice(...), perhaps with When(...) behind it"


def check_definition(study: Study[Any]) -> None:
    """Checks a study's definition.

    Raises:
        InputError: If it cannot be run as it stands; the message says what to change.
    """
    if not KEY.fullmatch(study.key):
        raise InputError(
            f"key is {study.key!r}: expected letters, digits, -, _ and ., a letter or digit first"
        )
    _check_config(study.config)
    _check_group(study)
    if not METRIC.fullmatch(study.objective):
        raise InputError(
            f"objective is {study.objective!r}: expected split/metric, such as "
            "validation/score, as the trials report it"
        )
    card = study.scorecard
    if card is not None and not (isinstance(card, Scorecard) and getattr(card, "unit", "")):
        raise InputError(
            f"scorecard is {card!r}: expected a Scorecard with a unit, which says what the test "
            "split consists of, in the plural"
        )
    _check_grids(study)
    _check_name(study)


def _check_grids(study: Study[Any]) -> None:
    for name in ("finalists", "seeds"):
        if getattr(study, name) < 1:
            raise InputError(f"{name} is {getattr(study, name)}: expected at least 1")
    if not 0 < study.first_rung <= 1:
        raise InputError(f"first_rung is {study.first_rung}: expected above 0, at most 1")
    known = {field.name for field in fields(study.config)}
    for name, grid in study.grids.items():
        if name not in study.presets:
            raise InputError(
                f"grids has {name!r}, which is no preset: expected one of "
                f"{', '.join(study.presets) or 'some; presets is empty'}"
            )
        if unknown := [field for field in grid if field not in known]:
            raise InputError(
                f"grids[{name!r}] has {unknown[0]!r}: expected fields of {study.config.__name__}"
            )


def _check_config(config: type[Any]) -> None:
    if not (isinstance(config, type) and issubclass(config, TrialConfig)):
        raise InputError(f"config is {config!r}: expected a class that extends TrialConfig")
    name = config.__name__
    if "__dataclass_fields__" not in vars(config):
        raise InputError(f"{name} is no dataclass: expected @dataclass(frozen=True) above it")
    hints = get_type_hints(config, include_extras=True)
    for field in fields(config):
        called, hint = f"{name}.{field.name}", hints[field.name]
        if field.default is MISSING:
            raise InputError(f"{called} has no default: expected one, which is tried first")
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        for place, mark in enumerate(marks):
            if isinstance(mark, When):
                _check_when(called, marks[:place], mark, hints)
                continue
            if not isinstance(mark, BaseDistribution):
                raise InputError(f"{called} has the range {mark!r}: {RANGES}")
            _check_choices(called, get_args(hint)[0], mark)
            # The default of a field that is not always searched may stand for "not used".
            is_conditional = any(isinstance(each, When) for each in marks[place + 1 : place + 2])
            if not is_conditional and not _is_in(mark, field.default):
                raise InputError(
                    f"{called} has the default {field.default!r}, which is not in its range {mark}"
                )


def _check_when(called: str, before: Sequence[Any], mark: When, hints: Mapping[str, Any]) -> None:
    if not before or not isinstance(before[-1], BaseDistribution):
        raise InputError(f"{called} has a When with no range in front of it: {RANGES}")
    if mark.field not in hints:
        raise InputError(f"{called} depends on {mark.field!r}, which is no field")
    if not isinstance(mark.values, tuple):
        raise InputError(
            f"{called} depends on the values {mark.values!r} of {mark.field}: expected a tuple"
        )
    for choices in (
        other.choices
        for other in get_args(hints[mark.field])[1:]
        if isinstance(other, CategoricalDistribution)
    ):
        if unknown := [value for value in mark.values if value not in choices]:
            raise InputError(
                f"{called} depends on {mark.field} being {unknown[0]!r}, which is none of its "
                f"choices {', '.join(map(str, choices))}"
            )


def _check_choices(field: str, plain: Any, mark: Any) -> None:
    if get_origin(plain) is Literal and isinstance(mark, CategoricalDistribution):
        for choice in mark.choices:
            if choice not in get_args(plain):
                raise InputError(
                    f"{field} has the choice {choice!r}, which its type {plain} does not have"
                )


def _is_in(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    low, high = vars(distribution)["low"], vars(distribution)["high"]
    return isinstance(value, int | float) and low <= value <= high


def _check_group(study: Study[Any]) -> None:
    hints = get_type_hints(study.config, include_extras=True)
    if study.group_by not in hints:
        raise InputError(
            f"group_by is {study.group_by!r}, but {study.config.__name__} has no such field: "
            f"expected one of {', '.join(_choices(hints)) or 'its fields with a Choice'}"
        )
    if study.group_by not in _choices(hints):
        raise InputError(
            f"group_by is {study.group_by!r}, which is no choice: expected a field with a "
            "Choice(...), each value of which is a group of the tables; a study that compares "
            "nothing may have one with a single value"
        )


def _choices(hints: dict[str, Any]) -> Iterator[str]:
    for name, hint in hints.items():
        if any(isinstance(mark, CategoricalDistribution) for mark in get_args(hint)[1:]):
            yield name


def _check_name(study: Study[Any]) -> None:
    """Checks that replay and the analyses will find the study again in the file that was run."""
    script = sys.modules["__main__"]
    source = getattr(script, "__file__", None)
    is_script = source and Path(source).resolve() == Path(study.file).resolve()
    if is_script and "STUDY" not in vars(script):
        raise InputError(
            f"{source} has no STUDY: give its study this name, by which replay and the analyses "
            "find it again"
        )
