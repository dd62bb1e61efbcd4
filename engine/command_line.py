"""Builds a command line from dataclasses: each field is a flag, its docstring the help text."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from docstring_parser import parse_from_object

from datasets.errors import InputError
from datasets.typed_paths import typed_address, typed_path
from engine.options import Options, variable
from engine.space import SINGLE, parameters_of
from trainables.config import TrialConfig

DataOptions = TypeVar("DataOptions")


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line.

    Attributes:
        options: Options that every study has.
        data: Options of the data, an instance of the study's ``data_options`` class.
        given: Config field -> the values given for it, one or several.
    """

    options: Options
    data: Any
    given: Mapping[str, Sequence[Any]]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises InputError instead of printing the usage: one line is clearer than forty."""
        raise InputError(f"{message} (see --help)")


def parse(
    argv: Sequence[str],
    description: str,
    data_options: type,
    config: type[TrialConfig],
    data_file: str | None = "dataset",
) -> CommandLine:
    """Parses the command line of a study.

    Args:
        argv: The arguments, without the program's name.
        description: First paragraph of the ``--help`` text.
        data_options: Dataclass of the study's data options.
        config: Dataclass of the hyperparameters.
        data_file: Name of the data option that takes a path or address; None if there is none.

    Raises:
        InputError: If an argument is unknown, of the wrong type, out of range, or not valid UTF-8.
    """
    _check_are_texts(argv)
    parser = _Parser(
        description=description,
        usage="%(prog)s [options]",
        allow_abbrev=False,
    )
    for title, kind in (("study", Options), ("data", data_options)):
        group = parser.add_argument_group(title)
        for field in fields(kind):
            _add_option(group, field, kind, is_address=field.name in ("storage", data_file))
    group = parser.add_argument_group(
        "configuration",
        "a value given here is used in every trial instead of being searched; of several, each "
        "trial has one",
    )
    searched = {parameter.field for parameter in parameters_of(config)}
    for field in fields(config):
        _add_config_field(group, field, config, field.name in searched)
    typed = vars(parser.parse_args(argv))
    given = {f.name: typed[f.name] for f in fields(config) if typed[f.name] is not None}
    return CommandLine(_build(Options, typed), _build(data_options, typed), given)


def _build(kind: type[DataOptions], typed: Mapping[str, Any]) -> DataOptions:
    values = {field.name: typed[field.name] for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _check_are_texts(argv: Sequence[str]) -> None:
    """Rejects arguments that are not valid UTF-8, as file names may be: they cannot be logged."""
    for argument in argv:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise InputError(f"{argument!r} is no text in UTF-8: rename the file or folder")


def _add_option(
    group: argparse._ArgumentGroup, field: Field[Any], kind: type, is_address: bool
) -> None:
    known = get_type_hints(kind)[field.name]
    hint, choices = _plain_type(known)
    text = _help(kind, field.name)
    if hint is bool:
        group.add_argument(_flag(field.name), action="store_true", help=text, default=False)
        return
    default = _default(field, choices)
    if get_origin(hint) is tuple:
        _add_names(group, field, text, default)
        return
    text += "" if default is None else " (default: %(default)s)"
    group.add_argument(
        _flag(field.name),
        type=typed_address if is_address else _reader(hint, _words(known)),
        choices=choices,
        default=default,
        metavar=None if choices else _metavar(hint),
        help=text,
    )


def _add_names(
    group: argparse._ArgumentGroup, field: Field[Any], text: str, default: str | tuple[str, ...]
) -> None:
    """Adds an option that takes several names; a variable separates them by spaces."""
    names = tuple(default.split()) if isinstance(default, str) else default
    group.add_argument(
        _flag(field.name), dest=field.name, nargs="+", default=names, metavar="NAME", help=text
    )


def _reader(hint: type, words: Sequence[str]) -> Callable[[str], Any]:
    """Returns a converter for an option's value: to its type, or one of some literal words."""
    if hint is Path:
        return typed_path

    def read(text: str) -> Any:
        try:
            return text if text in words else hint(text)
        except ValueError:
            expected = f"{', '.join(words)} or a number"
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None

    return read if words else hint


def _words(hint: Any) -> list[str]:
    """Returns the literal words that an option accepts besides values of its type."""
    literals = [part for part in get_args(hint) if get_origin(part) is Literal]
    return [word for literal in literals for word in get_args(literal)]


def _default(field: Field[Any], choices: Sequence[Any] | None) -> Any:
    """Returns the default from the environment if it is set there, else the field's own.

    The choices are checked here because argparse does not check defaults.
    """
    name = variable(field.name)
    said = os.environ.get(name)
    if not said:
        return field.default
    if choices and said not in choices:
        raise InputError(f"{name} is {said}: expected one of {', '.join(map(str, choices))}")
    return said


def _add_config_field(
    group: argparse._ArgumentGroup, field: Field[Any], config: type[TrialConfig], searched: bool
) -> None:
    hint, choices = _plain_type(get_type_hints(config)[field.name])
    kept = "searched" if searched else f"not searched; default: {field.default}"
    group.add_argument(
        _flag(field.name),
        type=_truth if hint is bool else hint,
        choices=choices,
        nargs=1 if field.name in SINGLE else "+",
        default=None,
        metavar=None if choices else _metavar(hint),
        help=f"{_help(config, field.name)} ({kept})",
    )


def _plain_type(hint: Any) -> tuple[type, tuple[Any, ...] | None]:
    """Returns the type that a flag's value is converted to, and its choices if it has any."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (UnionType, Union):
        hint = next(part for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is Literal:
        return type(get_args(hint)[0]), get_args(hint)
    return hint, None


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
    return text == "true"


def _flag(field: str) -> str:
    return "--" + field.rstrip("_").replace("_", "-")


def _metavar(hint: type) -> str:
    return {int: "N", float: "X", bool: "true|false"}.get(hint, hint.__name__.upper())


def _help(kind: type, field: str) -> str:
    """Returns the docstring of a field, its own or inherited, on one line."""
    for base in kind.__mro__:
        for parameter in parse_from_object(base).params if base is not object else ():
            if parameter.arg_name == field:
                return " ".join((parameter.description or "").split()).replace("%", "%%")
    raise InputError(
        f"{kind.__name__}.{field} has no docstring, which is the help of its option: expected a "
        "text in triple quotes below the field"
    )
