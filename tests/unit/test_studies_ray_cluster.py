"""What Ray is told when it is started on this machine."""

from typing import Any

import pytest
import ray

from studies import ray_cluster


def test_ray_has_as_many_cores_as_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself counts those of the machine, whatever ``taskset`` or a batch system gave."""
    told: dict[str, Any] = {}
    monkeypatch.setattr(ray, "init", lambda **options: told.update(options))
    monkeypatch.setattr(ray_cluster, "cores", lambda: 3)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "known")
    ray_cluster._start_here()
    assert told["num_cpus"] == 3
