"""Spreads the work of a trial over its cores and over its workers, which may be on other nodes.

A trial under Ray has a bundle of resources for itself and one of a core for each worker. What
runs on its own cores asks for none of Ray, as the trial holds them already and waits meanwhile.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import PlacementGroup, get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """Where one task at a time runs.

    Attributes:
        bundle: Index of the trial's bundle; 0: the trial's own.
        number: Tells places of one bundle apart.
    """

    bundle: int
    number: int


class TrialMap:
    """A `datasets.parallel.ParallelMap` over the cores and the workers of a trial.

    Each place takes the next item when it has done one. When there are none left, places that are
    idle repeat what is still under way in other bundles, and the first result counts: a node that
    is slow, or lost, costs no more than what it had begun. The function must therefore give the
    same result wherever it runs.

    Args:
        cores: Number of the trial's own cores.
    """

    def __init__(self, cores: int) -> None:
        self.group: PlacementGroup | None = get_current_placement_group()
        workers = 0 if self.group is None else len(self.group.bundle_specs) - 1
        own = [Place(0, number) for number in range(cores)]
        self.places = [*own, *(Place(1 + number, 0) for number in range(workers))]

    def __call__(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Sequence[Result]:
        """Applies a function to items; returns the results in order."""
        if len(self.places) == 1 or len(items) == 1:
            return [function(item) for item in items]
        return _Spread(self, ray.put(function), items).results()

    def begin(self, function: Any, item: Any, place: Place) -> Any:
        """Begins to apply a function to an item in some place; returns a reference."""
        options: dict[str, Any] = {"num_cpus": min(place.bundle, 1), "max_retries": 0}
        if self.group is not None:
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
                self.group, place.bundle
            )
        return _applied.options(**options).remote(function, item)


class _Spread:
    """One use of a map.

    Args:
        spread: The map.
        function: Reference to the function.
        items: What it is applied to.
    """

    def __init__(self, spread: TrialMap, function: Any, items: Sequence[Any]) -> None:
        self.spread, self.function, self.items = spread, function, items
        self.waiting = deque(range(len(items)))
        self.idle = list(spread.places)
        self.under_way: dict[Any, tuple[int, Place]] = {}
        self.done: dict[int, Any] = {}

    def results(self) -> list[Any]:
        """Applies the function; returns the results in order.

        Raises:
            Exception: What the function raises on the trial's own cores.
            RayError: If a process there died.
        """
        try:
            while len(self.done) < len(self.items):
                self._begin()
                (ready,), _ = ray.wait(list(self.under_way), num_returns=1)
                self._end(ready)
        finally:
            for reference in self.under_way:
                ray.cancel(reference)
        return [self.done[number] for number in range(len(self.items))]

    def _begin(self) -> None:
        """Gives every idle place something to do."""
        for place in list(self.idle):
            number = self._next(place)
            if number is None:
                continue
            self.idle.remove(place)
            reference = self.spread.begin(self.function, self.items[number], place)
            self.under_way[reference] = number, place

    def _next(self, place: Place) -> int | None:
        """Returns the number of an item to begin in a place; None if there is none.

        It is one that waits, or that is under way in other bundles alone, which may be on a lost
        node: in one of them at most, or in any number for the trial's own cores, which are there
        as long as the trial is.
        """
        while self.waiting:
            number = self.waiting.popleft()
            if number not in self.done:
                return number
        bundles: dict[int, list[int]] = {}
        for number, where in self.under_way.values():
            bundles.setdefault(number, []).append(where.bundle)
        most = len(self.spread.places) if place.bundle == 0 else 1
        for number, begun in bundles.items():
            if number not in self.done and place.bundle not in begun and len(begun) <= most:
                return number
        return None

    def _end(self, reference: Any) -> None:
        """Takes the result of a task.

        A worker that fails, its process or its node, is not asked again; what it was at is done
        elsewhere. What fails on the trial's own cores fails the trial.
        """
        number, place = self.under_way.pop(reference)
        try:
            result = ray.get(reference)
        except RayError as error:
            if number in self.done and place.bundle == 0:
                self.idle.append(place)
            elif place.bundle == 0:
                raise (error.cause if isinstance(error, RayTaskError) else error) from None
            else:
                self.waiting.appendleft(number)
        else:
            self.done.setdefault(number, result)
            self.idle.append(place)


@ray.remote
def _applied(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)
