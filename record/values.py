"""Plain values and their lossless JSON form.

Plain values are None, booleans, integers, finite floats, strings, dates, and sequences and
string-keyed mappings of these. All sequences become tuples, because JSON does not distinguish
lists from tuples, and frozen dataclasses need tuples.
"""

import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime
from typing import Any, TypeVar

from datasets.errors import InputError

Kind = TypeVar("Kind")

DATE, MOMENT = "$date", "$datetime"
"""Keys of the JSON objects that represent a date, or a date with time."""


def plain(value: Any, where: str = "value") -> Any:
    """Checks that a value is plain, and returns it with all sequences as tuples.

    Args:
        value: The value.
        where: Name of the value, for the message.

    Raises:
        ValueError: If the value is not plain.
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
    """Converts a plain value to one that `json` can write.

    Args:
        value: The value.
        where: Name of the value, for the message.

    Raises:
        ValueError: If the value is not plain.
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
    """Converts a value of `to_json` back to the plain value."""
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
    """Creates a dataclass from recorded values.

    Args:
        kind: The dataclass.
        given: Name -> value; names that are not fields are ignored.

    Raises:
        InputError: If a field is missing, or the dataclass rejects a value.
    """
    expected = [each.name for each in fields(kind)]  # pyright: ignore[reportArgumentType]
    if missing := [name for name in expected if name not in given]:
        raise InputError(
            f"{', '.join(missing)}: expected with what was recorded, but an older or a newer "
            "version of the code recorded it; check out that version"
        )
    return kind(**{name: given[name] for name in expected})
