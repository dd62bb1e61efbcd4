"""Holds the unit tests to what they promise: no Ray, no MLflow, no process beside their own."""

import multiprocessing.util
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
from contracts import SomeGPU, on_a_gpu, some_gpu

FORBIDDEN = {
    "os.fork": "a process",
    "os.posix_spawn": "a process",
    "os.system": "a process",
    "sqlite3.connect": "a database, such as MLflow's",
    "subprocess.Popen": "a process, as Ray does",
}
"""Event that Python audits -> what a test begins then."""

watched = False


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Raises where a unit test does what belongs into an integration test."""
    if watched and event in FORBIDDEN:
        pytest.fail(f"a unit test begins {FORBIDDEN[event]}: {arguments}")


sys.addaudithook(refuse)


def refuse_to_spawn(path: bytes, *_: Any) -> NoReturn:
    """Stands for the one way to a process that Python does not audit."""
    pytest.fail(f"a unit test begins a process: {path!r}")


@pytest.fixture(autouse=True)
def _neither_ray_nor_mlflow_nor_a_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    global watched
    monkeypatch.setattr(multiprocessing.util, "spawnv_passfds", refuse_to_spawn)
    watched = True
    yield
    watched = False


@pytest.fixture(params=["cpu", "gpu", "cuda"])
def on_each_device(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Runs a test on the CPU, on a pretended GPU, and on a real one where there is one."""
    if request.param == "cpu":
        yield
        return
    with on_a_gpu(monkeypatch, real=request.param == "cuda"):
        yield


@pytest.fixture(params=["gpu", "cuda"])
def a_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SomeGPU:
    """Runs a test with a pretended GPU, and with a real one where there is one."""
    return some_gpu(monkeypatch, real=request.param == "cuda")
