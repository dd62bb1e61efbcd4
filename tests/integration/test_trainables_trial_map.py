"""The map over the cores and the workers of a trial."""

import os
import time
from pathlib import Path

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


def test_a_place_that_is_idle_repeats_what_is_slow_elsewhere(tmp_path: Path) -> None:
    """The last item sleeps for a minute where it is begun first."""

    def slow(item: int) -> int:
        first = tmp_path / str(item)
        if item == 3 and not first.exists():
            first.touch()
            time.sleep(60)
        return item

    begun = time.monotonic()
    assert TrialMap(2)(slow, range(4)) == [0, 1, 2, 3]
    assert time.monotonic() - begun < 40


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


def test_a_trial_with_a_worker_has_a_place_for_it_and_outlives_its_process(
    tmp_path: Path,
) -> None:
    group = placement_group([{"CPU": 1}, {"CPU": 1}])
    ray.get(group.ready(), timeout=60)

    def trial() -> tuple[int, list[int]]:
        def dies_once(item: int) -> int:
            mark = tmp_path / "died"
            held = ray.get_runtime_context().get_assigned_resources().get("CPU", 0)
            if held and not mark.exists():
                mark.touch()
                os._exit(1)
            time.sleep(0.1)
            return item

        spread = TrialMap(1)
        return len(spread.places), [*spread(dies_once, range(6))]

    here = PlacementGroupSchedulingStrategy(group, 0)
    task = ray.remote(num_cpus=1)(trial).options(scheduling_strategy=here)
    try:
        assert ray.get(task.remote(), timeout=120) == (2, [0, 1, 2, 3, 4, 5])
    finally:
        remove_placement_group(group)
    assert (tmp_path / "died").exists()
