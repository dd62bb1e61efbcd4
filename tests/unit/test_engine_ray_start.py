"""What Ray is told when it is started on this machine, and what is known before."""

from typing import Any

import pytest
import ray

from datasets.errors import InputError
from engine.on_ray import cluster
from engine.on_ray.cluster import check_sockets

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
