"""The parallel map of the data sets, on Ray."""

from collections.abc import Iterator

import pytest
import ray

from datasets.errors import InputError
from studies import ray_runner
from studies.ray_runner import ray_map


@pytest.fixture(scope="module", autouse=True)
def own_cluster() -> Iterator[None]:
    ray.shutdown()
    yield
    ray.shutdown()


@pytest.mark.ray
def test_results_come_in_the_order_of_the_items_however_few_are_under_way(monkeypatch):
    monkeypatch.setattr(ray_runner, "TASKS_AHEAD", 1)

    def squared(item: int) -> int:
        return item**2

    assert list(ray_map(squared, range(50))) == [item**2 for item in range(50)]
    assert list(ray_map(squared, [])) == []


@pytest.mark.ray
def test_only_a_window_of_items_is_under_way_at_once(monkeypatch):
    monkeypatch.setattr(ray_runner, "TASKS_AHEAD", 1)
    taken: list[int] = []

    def same(item: int) -> int:
        return item

    class Items(list[int]):
        def __iter__(self) -> Iterator[int]:
            for item in range(1000):
                taken.append(item)
                yield item

    next(iter(ray_map(same, Items())))
    assert len(taken) == 1 + int(ray.cluster_resources()["CPU"])


@pytest.mark.ray
def test_what_the_function_raises_comes_as_itself():
    def refuse(item: int) -> None:
        raise InputError(f"row {item} cannot be")

    with pytest.raises(InputError, match=r"^row 3 cannot be$"):
        list(ray_map(refuse, [3]))
