"""The tools that a study's `open` function receives."""

from collections.abc import Callable
from dataclasses import dataclass

from datasets.cache import Cache
from datasets.parallel import ParallelMap


@dataclass(frozen=True)
class Tools:
    """Cache, parallel map and messages for the function that opens a study's problem.

    Attributes:
        cache: Cache of prepared data.
        parallel: Maps a function over items, on all cores or machines, with a progress bar.
        notify: Prints a line, such as how much data was left out.
    """

    cache: Cache
    parallel: ParallelMap = map
    notify: Callable[[str], None] = print
