"""Loops that Numba compiles when they are first called, and keeps for other processes."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
from numba.core import config

from datasets.home import own_folder


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a function that Numba is to compile; it then runs without the interpreter's lock.

    What was compiled is kept beside the code or in the home folder, as Numba chooses, else among
    the temporary files. Where nothing can be written each process compiles anew, for some seconds.

    Args:
        options: Further ones of ``numba.njit``.
    """

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no place to keep it
            return numba.njit(nogil=True, cache=_is_there_another_place(), **options)(function)

    return decorated


@cache
def _is_there_another_place() -> bool:
    """Points Numba at a folder of this user's, if there can be one."""
    try:
        config.CACHE_DIR = str(own_folder() / "numba")  # pyright: ignore[reportAttributeAccessIssue]
    except OSError:
        return False
    return True
