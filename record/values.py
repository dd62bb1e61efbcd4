"""Plain values, and how they are written as JSON: exactly, or not at all.

Plain are None, booleans, whole numbers, finite floats, text, dates, and sequences and mappings
from text to these. A sequence is a tuple wherever it comes from, since JSON does not tell lists
from tuples and a frozen dataclass wants the latter.
"""

import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime
from typing import Any, TypeVar

from datasets.errors import InputError

Kind = TypeVar("Kind")

DATE, MOMENT = "$date", "$datetime"
"""Keys of the mappings that stand for a date in JSON."""


def plain(value: Any, where: str = "value") -> Any:
    """A value with tuples for its sequences.

    Args:
        value: The value.
        where: What it is, for the message.

    Raises:
        ValueError: If it is not plain.
    """
    match value:
        case float() if not math.isfinite(value):
            raise ValueError(f"{where} is {value}: expected a finite number")
        case None | bool() | int() | float() | str() | date():
            return value
        case list() | tuple():
            return tuple(plain(each, f"{where}[{place}]") for place, each in enumerate(value))
        case Mapping():
            return {_key(key, where): plain(each, f"{where}.{key}") for key, each in value.items()}
    kind = type(value).__name__
    raise ValueError(f"{where} is a {kind}: expected text, numbers, dates, and tuples of these")


def _key(key: Any, where: str) -> str:
    if type(key) is not str or key.startswith("$"):
        raise ValueError(f"{where} has the key {key!r}: expected text that does not begin with $")
    return key


def to_json(value: Any, where: str = "value") -> Any:
    """A plain value as what `json` writes.

    Raises:
        ValueError: If it is not plain.
    """
    return _with_dates_as_text(plain(value, where))


def _with_dates_as_text(value: Any) -> Any:
    match value:
        case datetime():
            return {MOMENT: value.isoformat()}
        case date():
            return {DATE: value.isoformat()}
        case tuple():
            return [_with_dates_as_text(each) for each in value]
        case dict():
            return {key: _with_dates_as_text(each) for key, each in value.items()}
    return value


def from_json(value: Any) -> Any:
    """The plain value that `to_json` wrote."""
    match value:
        case list():
            return tuple(map(from_json, value))
        case {"$date": text}:
            return date.fromisoformat(text)
        case {"$datetime": text}:
            return datetime.fromisoformat(text)
        case dict():
            return {key: from_json(each) for key, each in value.items()}
    return value


def made_of(kind: type[Kind], given: Mapping[str, Any]) -> Kind:
    """A dataclass of values that were recorded.

    Args:
        kind: The dataclass.
        given: Field -> value; others do not matter.

    Raises:
        InputError: If a field is not among them, or its value is refused.
    """
    expected = [each.name for each in fields(kind)]  # pyright: ignore[reportArgumentType]
    if missing := [name for name in expected if name not in given]:
        raise InputError(
            f"{', '.join(missing)}: expected with what was recorded, but an older or a newer "
            "version of the code recorded it; check out that version"
        )
    return kind(**{name: given[name] for name in expected})
