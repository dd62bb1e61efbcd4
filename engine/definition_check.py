"""Checks the definition of a study before anything runs: a slip in it is one clear line."""

import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from optuna.distributions import BaseDistribution, CategoricalDistribution

from analysis.scorecard import Scorecard
from datasets.errors import InputError
from engine.study import Study
from trainables.config import TrialConfig, When

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
    if "/" not in study.objective:
        raise InputError(
            f"objective is {study.objective!r}: expected split/metric, such as "
            f"validation/{study.objective or 'score'}, as the trials report it"
        )
    card = study.scorecard
    if card is not None and not (isinstance(card, Scorecard) and getattr(card, "unit", "")):
        raise InputError(
            f"scorecard is {card!r}: expected a Scorecard with a unit, which says what the test "
            "split consists of, in the plural"
        )
    _check_name(study)


def _check_config(config: type[Any]) -> None:
    if not (isinstance(config, type) and issubclass(config, TrialConfig)):
        raise InputError(f"config is {config!r}: expected a class that extends TrialConfig")
    name = config.__name__
    if "__dataclass_fields__" not in vars(config):
        raise InputError(f"{name} is no dataclass: expected @dataclass(frozen=True) above it")
    defaults = {field.name: field.default for field in fields(config)}
    for field, hint in get_type_hints(config, include_extras=True).items():
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        plain = get_args(hint)[0] if marks else hint
        for mark, following in pairwise((*marks, None)):
            if not isinstance(mark, BaseDistribution | When):
                raise InputError(f"{name}.{field} has the range {mark!r}: {RANGES}")
            _check_choices(f"{name}.{field}", plain, mark)
            if isinstance(mark, When) or isinstance(following, When):
                continue  # its default may stand for "not used"
            if not _is_in(mark, defaults[field]):
                raise InputError(
                    f"{name}.{field} has the default {defaults[field]!r}, which is not in its "
                    f"range {mark}"
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
    if source and Path(source).resolve() == Path(study.file).resolve():
        named = [name for name, value in vars(script).items() if value is study]
        if named and "STUDY" not in named:
            raise InputError(
                f"{source} calls its study {named[0]}: expected STUDY, by which replay and the "
                "analyses find it again"
            )
