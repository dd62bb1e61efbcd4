"""What Ray is told when it is started on this machine, and what is known before."""

import threading
import time
from typing import Any

import pytest
import ray

from datasets.errors import InputError
from engine.on_ray import cluster
from engine.on_ray.cluster import RayDied, check_sockets, own_ray

LONG = "/tmp/" + "a-folder-of-a-batch-system/" * 3


def test_a_temporary_folder_that_is_too_long_for_sockets_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", LONG)
    with pytest.raises(InputError, match=f"{LONG} is .* too long for Ray's sockets: set RAY_TMPD"):
        check_sockets()
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    check_sockets()
    monkeypatch.setenv("RAY_TMPDIR", LONG)
    monkeypatch.setenv("TMPDIR", "/tmp")
    with pytest.raises(InputError, match="too long for Ray's sockets"):
        check_sockets()


def test_what_counts_are_bytes_and_one_too_many_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 1234567)
    longest = 107 - len("/ray/session_2000-01-01_00-00-00_000000_1234567/sockets/plasma_store")
    monkeypatch.setattr("engine.on_ray.cluster.LONGEST_SOCKET", 107)
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * (longest - 1))
    check_sockets()
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * longest)
    with pytest.raises(InputError, match="is 1 bytes too long"):
        check_sockets()
    monkeypatch.setenv("RAY_TMPDIR", "/" + "é" * (longest - 1))
    with pytest.raises(InputError, match=f"is {longest - 1} bytes too long"):
        check_sockets()


def test_ray_has_as_many_cores_as_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself counts those of the machine, whatever ``taskset`` or a batch system gave."""
    told: dict[str, Any] = {}
    monkeypatch.setattr(ray, "init", lambda **options: told.update(options))
    monkeypatch.setattr(cluster, "cores", lambda: 3)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "known")
    cluster._start_here()
    assert told["num_cpus"] == 3


class PretendedRay:
    """Stands for Ray: it starts when it is allowed to, and notes what happens to it.

    Attributes:
        happened: What happened, in order.
        may_start: Start waits for it.
        may_stop: The end of the processes waits for it.
        failures: Errors of the next starts.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.happened: list[str] = []
        self.may_start, self.may_stop = threading.Event(), threading.Event()
        self.may_stop.set()
        self.failures: list[RayDied] = []
        self.runs = False
        monkeypatch.setattr(cluster, "_start", self.start)
        monkeypatch.setattr(ray, "is_initialized", lambda: self.runs)
        monkeypatch.setattr(ray, "shutdown", self.disconnect)
        monkeypatch.setattr(ray._private.worker, "_global_node", None)  # pyright: ignore

    def start(self, address: str | None) -> None:
        assert self.may_start.wait(10)
        self.happened.append(f"start {address} in {threading.current_thread().name}")
        if self.failures:
            raise self.failures.pop()
        self.runs = True
        ray._private.worker._global_node = self  # pyright: ignore

    def disconnect(self) -> None:
        self.happened.append(f"disconnect in {threading.current_thread().name}")
        self.runs = False

    def kill_all_processes(self, check_alive: bool, allow_graceful: bool) -> None:
        assert self.may_stop.wait(10)
        self.happened.append(f"kill in {threading.current_thread().name}")


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> PretendedRay:
    return PretendedRay(monkeypatch)


def test_ray_starts_beside_other_work_and_whoever_needs_it_waits(pretended: PretendedRay) -> None:
    with own_ray(early=True):
        assert pretended.happened == []
        pretended.may_start.set()
        cluster.start()
        assert len(pretended.happened) == 1
        cluster.start()
    assert pretended.happened[1:] == ["disconnect in MainThread", "kill in Ray"]


def test_the_thread_that_started_ray_stays_until_ray_is_stopped(pretended: PretendedRay) -> None:
    """Linux would end Ray's processes with it."""
    pretended.may_start.set()
    with own_ray(early=True):
        until = time.monotonic() + 10
        while not pretended.runs and time.monotonic() < until:
            time.sleep(0.01)
        assert pretended.happened == ["start None in Ray"]
        assert "Ray" in {thread.name for thread in threading.enumerate()}
    assert "Ray" not in {thread.name for thread in threading.enumerate()}


def test_a_failure_in_the_background_is_met_by_whoever_needs_ray(pretended: PretendedRay) -> None:
    pretended.may_start.set()
    pretended.failures = [RayDied("no room"), RayDied("no room")]
    with own_ray(early=True):
        until = time.monotonic() + 10
        while len(pretended.happened) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        with pytest.raises(RayDied, match="no room"):
            cluster.start()
        cluster.start()
    assert [words.split()[0] for words in pretended.happened] == [
        *("start", "disconnect", "start", "start", "disconnect", "kill")
    ]


@pytest.mark.parametrize("early", [True, False])
def test_a_command_that_is_refused_leaves_no_ray(pretended: PretendedRay, early: bool) -> None:
    pretended.may_start.set()
    with pytest.raises(InputError), own_ray(early=early):
        raise InputError("no such data")
    assert not pretended.runs
    assert ("kill in Ray" in pretended.happened) == (len(pretended.happened) > 1)


def test_ray_is_left_before_the_end_and_without_waiting(pretended: PretendedRay) -> None:
    pretended.may_start.set()
    pretended.may_stop.clear()
    with own_ray(early=False) as leave:
        cluster.start()
        leave()
        assert pretended.happened[1:] == ["disconnect in MainThread"]
        pretended.may_stop.set()
    assert pretended.happened[2:] == ["kill in Ray"]


def test_a_ray_that_was_there_before_stays(pretended: PretendedRay) -> None:
    pretended.runs = True
    with own_ray(early=True) as leave:
        leave()
    assert pretended.happened == []
