"""Options and hyperparameters from the texts that MLflow keeps of them."""

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from datasets.errors import InputError

Kind = TypeVar("Kind")

READERS: Mapping[Any, Callable[[str], Any]] = {
    bool: lambda text: text == "True",
    int: int,
    float: float,
}
"""Type -> what reads a value of it; all others are texts."""


def from_texts(kind: type[Kind], texts: Mapping[str, str]) -> Kind:
    """A dataclass from what `str` made of its fields.

    Args:
        kind: The dataclass.
        texts: Field -> text; others do not matter.

    Raises:
        InputError: If a field is not among them, or its value is refused.
    """
    hints = get_type_hints(kind)
    if missing := [name for name in hints if name not in texts]:
        raise InputError(
            f"{', '.join(missing)}: expected with what was recorded, but an older or a newer "
            "version of the code recorded it; check out that version"
        )
    return kind(**{name: _value(name, hint, texts[name]) for name, hint in hints.items()})


def whole(name: str, text: str) -> int:
    """A whole number that was recorded.

    Raises:
        InputError: If the text is none.
    """
    return _value(name, int, text)


def number(name: str, text: str) -> float:
    """A number that was recorded.

    Raises:
        InputError: If the text is none.
    """
    return _value(name, float, text)


def _value(name: str, hint: Any, text: str) -> Any:
    parts = get_args(hint)
    if NoneType in parts:
        (plain,) = (part for part in parts if part is not NoneType)
        return None if text == "None" else _value(name, plain, text)
    try:
        return READERS.get(hint, str)(text)
    except ValueError as error:
        raise InputError(
            f"{name} is recorded as {text!r}: expected a number ({hint.__name__}), as the study "
            "wrote it; put it back in MLflow"
        ) from error
