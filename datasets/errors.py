"""Errors as users see them: one line each."""

from datasets.addresses import shown


class InputError(ValueError):
    """Bad input, found before work starts.

    The message is one line that says what was expected, what came and what to do; the command
    lines print it alone, without a traceback, and exit with code 2.
    """


def described(error: BaseException) -> str:
    """Returns any error as one line of text without credentials; an OSError with its file."""
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        return shown(named)
    return shown((str(error) or repr(error)).splitlines()[0])
