"""What opening a problem may use."""

from collections.abc import Callable
from dataclasses import dataclass

from datasets.cache import Cache
from datasets.parallel import ParallelMap


@dataclass(frozen=True)
class Tools:
    """What opening a problem may use.

    Attributes:
        cache: Keeps what was prepared once.
        parallel: Maps a function over items, on all cores or machines, with a progress bar.
        notify: Prints a line, such as what was left out.
    """

    cache: Cache
    parallel: ParallelMap = map
    notify: Callable[[str], None] = print
