"""The map over the cores and the workers of a trial."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from datasets.errors import InputError
from trainables.trial_map import TrialMap

pytestmark = pytest.mark.ray


def test_results_come_in_the_order_of_the_items() -> None:
    def squared(item: int) -> int:
        return item**2

    assert TrialMap(2)(squared, range(7)) == [item**2 for item in range(7)]
    assert TrialMap(2)(squared, []) == []


def test_one_core_works_in_the_trial_s_own_process() -> None:
    def process(_: int) -> int:
        return os.getpid()

    assert TrialMap(1)(process, [1, 2]) == [os.getpid()] * 2
    assert TrialMap(2)(process, [1]) == [os.getpid()]
    assert os.getpid() not in TrialMap(2)(process, [1, 2])


def test_what_the_function_raises_comes_as_itself() -> None:
    def refuse(item: int) -> None:
        raise InputError(f"track {item} cannot be")

    with pytest.raises(InputError, match=r"^track 3 cannot be$"):
        TrialMap(2)(refuse, [3, 3])


def test_a_process_of_the_trial_s_own_cores_that_dies_is_an_error_of_the_trial() -> None:
    def die(_: int) -> None:
        os._exit(1)

    with pytest.raises(RayError):
        TrialMap(2)(die, [1, 2])


@pytest.fixture
def in_a_trial() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Runs a function in the first of two bundles of a core each, as a trial with a worker is."""
    group = placement_group([{"CPU": 1}, {"CPU": 1}])
    ray.get(group.ready(), timeout=60)
    here = PlacementGroupSchedulingStrategy(group, 0)

    def run(function: Callable[[], Any]) -> Any:
        task = ray.remote(num_cpus=1)(function).options(scheduling_strategy=here)
        return ray.get(task.remote(), timeout=120)

    yield run
    remove_placement_group(group)


def test_a_worker_whose_process_dies_costs_what_it_was_at(
    in_a_trial: Callable[[Callable[[], Any]], Any], tmp_path: Path
) -> None:
    def dies_once(item: int) -> int:
        if (
            ray.get_runtime_context().get_assigned_resources().get("CPU")
            and not (tmp_path / "died").exists()
        ):
            (tmp_path / "died").touch()
            os._exit(1)
        time.sleep(0.1)
        return item

    def trial() -> tuple[int, list[int]]:
        spread = TrialMap(1)
        return len(spread.places), [*spread(dies_once, range(6))]

    assert in_a_trial(trial) == (2, [0, 1, 2, 3, 4, 5])
    assert (tmp_path / "died").exists()


def test_a_place_that_is_idle_repeats_what_is_slow_elsewhere(
    in_a_trial: Callable[[Callable[[], Any]], Any],
) -> None:
    def slow_in_a_worker(item: int) -> int:
        time.sleep(60 if ray.get_runtime_context().get_assigned_resources().get("CPU") else 0.1)
        return item

    def trial() -> tuple[float, list[int]]:
        begun = time.monotonic()
        found = [*TrialMap(1)(slow_in_a_worker, range(4))]
        return time.monotonic() - begun, found

    seconds, found = in_a_trial(trial)
    assert found == [0, 1, 2, 3]
    assert seconds < 40
