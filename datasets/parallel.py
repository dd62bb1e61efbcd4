"""The interface of the parallel map in which data sets run their heavy loops."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ParallelMap(Protocol):
    """A function like the builtin ``map`` over one sequence: lazy, with results in order.

    The mapped function must be picklable, that is at module level, as it may run in another
    process or on another machine. Whoever provides the map decides where the work runs and shows
    its progress.
    """

    def __call__(
        self, function: Callable[[Item], Result], items: Sequence[Item], /
    ) -> Iterable[Result]: ...
