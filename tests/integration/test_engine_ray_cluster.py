"""Ray on this machine: the parallel map of the data sets, and what survives it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import ray

from datasets.errors import InputError
from engine.on_ray import cluster
from engine.on_ray.cluster import ray_map


@pytest.mark.ray
def test_results_come_in_the_order_of_the_items_however_few_are_under_way(monkeypatch):
    monkeypatch.setattr(cluster, "TASKS_AHEAD", 1)

    def squared(item: int) -> int:
        return item**2

    assert list(ray_map()(squared, range(50))) == [item**2 for item in range(50)]
    assert list(ray_map()(squared, [])) == []


@contextmanager
def raylet(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a process of that name which never answers."""
    file = folder / "raylet"
    if not file.is_symlink():
        file.symlink_to("/bin/sleep")
    with subprocess.Popen([file, "60"]) as process:
        yield process
        process.kill()


def test_a_ray_that_never_starts_is_ended_and_said_so(tmp_path, capfd):
    with raylet(tmp_path) as earlier:
        with cluster._given_up_after(0.1), raylet(tmp_path) as started:
            assert started.wait(20) == -signal.SIGKILL
        assert earlier.poll() is None
    assert "Ray has not started for 0 s, and is ended" in capfd.readouterr().err


def test_a_ray_that_starts_is_left_alone(tmp_path, capfd):
    with ExitStack() as stack:
        with cluster._given_up_after(0.2):
            started = stack.enter_context(raylet(tmp_path))
        with pytest.raises(subprocess.TimeoutExpired):
            started.wait(1)
    assert capfd.readouterr().err == ""


@pytest.mark.ray
def test_only_a_window_of_items_is_under_way_at_once(monkeypatch):
    monkeypatch.setattr(cluster, "TASKS_AHEAD", 1)
    taken: list[int] = []

    def same(item: int) -> int:
        return item

    class Items(list[int]):
        def __iter__(self) -> Iterator[int]:
            for item in range(1000):
                taken.append(item)
                yield item

    next(iter(ray_map()(same, Items())))
    assert len(taken) == 1 + int(ray.cluster_resources()["CPU"])


@pytest.mark.ray
def test_what_the_function_raises_comes_as_itself():
    def refuse(item: int) -> None:
        raise InputError(f"row {item} cannot be")

    with pytest.raises(InputError, match=r"^row 3 cannot be$"):
        list(ray_map()(refuse, [3]))


LOSES_ITS_RAYLET = """
import time

import psutil
import ray

from engine.on_ray.cluster import RayDied, surviving

times = 0


def loses_its_raylet():
    global times
    times += 1
    (raylet,) = [c for c in psutil.Process().children() if c.name() == "raylet"]
    if times <= losses:
        raylet.kill()
        time.sleep(60)
    return ray.get(ray.remote(lambda: 42).remote())


for losses, allowed in ((1, 1), (3, 1)):
    times = 0
    try:
        print(surviving(loses_its_raylet, None, allowed, print), "after", times)
    except RayDied as error:
        print(error)
"""


@pytest.mark.ray
def test_what_is_done_on_ray_is_done_again_when_ray_dies():
    """In a process of its own, which Ray may end."""
    done = subprocess.run(
        [sys.executable, "-c", LOSES_ITS_RAYLET], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines() == [
        "Ray died; it is started again",
        "42 after 2",
        "Ray died; it is started again",
        "Ray died, 2 times",
    ], done.stderr
