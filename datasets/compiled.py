"""A decorator for functions that Numba compiles on first call and caches for other processes."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
from numba.core import config

from datasets.home import own_folder


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator that compiles a function with Numba; it then runs without the GIL.

    The compiled code is cached beside the source or in the home folder, as Numba chooses, else
    among the temporary files. If nothing can be written, each process compiles anew, for some
    seconds.

    Args:
        options: Further options of ``numba.njit``.
    """

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # Numba found no folder for its cache
            return numba.njit(nogil=True, cache=_is_there_another_place(), **options)(function)

    return decorated


@cache
def _is_there_another_place() -> bool:
    """Sets Numba's cache folder to the user's own temporary one; returns whether that worked."""
    try:
        config.CACHE_DIR = str(own_folder() / "numba")  # pyright: ignore[reportAttributeAccessIssue]
    except OSError:
        return False
    return True
