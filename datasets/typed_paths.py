"""Paths as users type them, on a command line or in a variable of the environment."""

from argparse import ArgumentTypeError
from pathlib import Path


def typed_path(text: str) -> Path:
    """The path that a user means; reads an option, see `typed_address`."""
    return Path(typed_address(text))


def typed_address(text: str) -> str:
    """What a user means where a path may stand, and something else too, such as ``qm9`` or
    ``s3://BUCKET``, which stays as it is.

    ``~`` and ``~NAME`` at its beginning are home folders: the shell leaves them alone in
    ``--option=~/folder`` and in the files that set variables.

    Raises:
        ArgumentTypeError: If there is no such home folder.
    """
    path = Path(text)
    if not text.startswith("~"):
        # ``./~`` is no home folder, but libraries would make one of the path ``~``.
        return str(path.absolute()) if str(path).startswith("~") else text
    try:
        return str(path.expanduser())
    except RuntimeError:
        raise ArgumentTypeError(
            f"{text}: there is no home folder {path.parts[0]}; give the whole path, or ./{text} "
            "where it is called so"
        ) from None
