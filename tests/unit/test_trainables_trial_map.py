"""What the map of a trial begins where, on places that are made up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.exceptions import RayTaskError, WorkerCrashedError

from trainables import trial_map
from trainables.trial_map import Place, TrialMap, _Spread


@dataclass(eq=False)
class Task:
    """A task that was begun.

    Attributes:
        item: What the function is applied to.
        place: Where.
        error: What it ends with; None: it ends with the item's square, or never.
        ends: Whether it ends.
    """

    item: int
    place: Place
    error: Exception | None = None
    ends: bool = True


class Rooms:
    """Places of a trial: two cores of its own and three workers, some of which are lost.

    Args:
        lost: Bundles whose tasks never end.
        failing: Bundle -> the error that its tasks end with.
    """

    def __init__(self, lost: Sequence[int] = (), failing: dict[int, Exception] | None = None):
        self.places = [Place(0, 0), Place(0, 1), Place(1, 0), Place(2, 0), Place(3, 0)]
        self.lost, self.failing = lost, failing or {}
        self.begun: list[Task] = []
        self.cancelled: list[Task] = []

    def begin(self, function: Any, item: int, place: Place) -> Task:
        error = self.failing.get(place.bundle)
        task = Task(item, place, error, ends=place.bundle not in self.lost)
        self.begun.append(task)
        return task

    def wait(self, tasks: list[Task], num_returns: int) -> tuple[list[Task], list[Task]]:
        ready = [task for task in tasks if task.ends]
        assert ready, "the trial waits for ever"
        return ready[:num_returns], []

    def get(self, task: Task) -> int:
        if task.error is not None:
            raise task.error
        return task.item**2


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch) -> Callable[[Rooms, int], list[int]]:
    """Applies squaring to so many items in some places."""

    def run(rooms: Rooms, items: int) -> list[int]:
        fake = SimpleNamespace(wait=rooms.wait, get=rooms.get, cancel=rooms.cancelled.append)
        monkeypatch.setattr(trial_map, "ray", fake)
        return _Spread(cast(TrialMap, rooms), None, range(items)).results()

    return run


Run = Callable[[Rooms, int], list[int]]


def raised(error: Exception) -> RayTaskError:
    return RayTaskError("rolled_out", str(error), error)


@pytest.mark.parametrize("items", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("lost", [(), (1,), (1, 3), (1, 2, 3)])
def test_whatever_workers_are_lost_every_item_is_done(
    spread: Run, lost: tuple[int, ...], items: int
) -> None:
    assert spread(Rooms(lost), items) == [item**2 for item in range(items)]


@pytest.mark.parametrize("error", [WorkerCrashedError(), raised(ImportError("no such package"))])
def test_a_worker_that_fails_is_asked_once_and_what_it_was_at_is_done_elsewhere(
    spread: Run, error: Exception
) -> None:
    rooms = Rooms(failing={2: error})
    assert spread(rooms, 9) == [item**2 for item in range(9)]
    assert [task.place.bundle for task in rooms.begun].count(2) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [(WorkerCrashedError(), WorkerCrashedError), (raised(KeyError(3)), KeyError)],
)
def test_what_fails_on_the_trial_s_own_cores_fails_the_trial_and_leaves_nothing_under_way(
    spread: Run, error: Exception, kind: type[Exception]
) -> None:
    rooms = Rooms(lost=(1, 2, 3), failing={0: error})
    with pytest.raises(kind):
        spread(rooms, 9)
    assert {task.place.bundle for task in rooms.cancelled} == {0, 1, 2, 3}


def test_only_what_is_under_way_in_other_bundles_is_repeated(spread: Run) -> None:
    rooms = Rooms(lost=(3,))
    spread(rooms, 5)
    repeated = [task for task in rooms.begun if task.item == 4]
    assert repeated[0].place.bundle == 3
    assert len(repeated) > 1
    for item in range(4):
        bundles = [task.place.bundle for task in rooms.begun if task.item == item]
        assert len(bundles) == len({*bundles})
