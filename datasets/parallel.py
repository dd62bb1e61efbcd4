"""The shape of a parallel map: what data sets ask of whoever runs their heavy loops."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ParallelMap(Protocol):
    """Like the builtin ``map`` over one sequence: lazy, results in the order of the items.

    The function must be picklable (module level): it may run in another process or on another
    machine. The caller decides where the work runs and shows its progress.
    """

    def __call__(
        self, function: Callable[[Item], Result], items: Sequence[Item], /
    ) -> Iterable[Result]: ...
