"""Parses paths from the command line or from environment variables."""

from argparse import ArgumentTypeError
from pathlib import Path


def typed_path(text: str) -> Path:
    """Converts an option's value to a path, with ``~`` expanded; see `typed_address`.

    Raises:
        ArgumentTypeError: If there is no such home folder.
    """
    return Path(typed_address(text))


def typed_address(text: str) -> str:
    """Expands a leading ``~`` or ``~NAME`` in an option's value; other values, such as ``qm9`` or
    ``s3://BUCKET``, are returned as they are.

    The shell does not expand it in ``--option=~/folder`` or in files that set variables.

    Raises:
        ArgumentTypeError: If there is no such home folder.
    """
    path = Path(text)
    if not text.startswith("~"):
        # ``./~`` is not a home folder, but as a Path it becomes ``~``, which libraries expand.
        return str(path.absolute()) if str(path).startswith("~") else text
    try:
        return str(path.expanduser())
    except RuntimeError:
        raise ArgumentTypeError(
            f"{text}: there is no home folder {path.parts[0]}; give the whole path, or ./{text} "
            "where it is called so"
        ) from None
