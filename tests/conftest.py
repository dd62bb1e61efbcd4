"""Fixtures that several test files share.

Expensive resources are made once for a test run, also if several processes share it: an empty
MLflow database, generated molecules, two trained studies, and one Ray. Tests that change one work
on a copy.
"""

import os
import shutil
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
import torch
import trained_studies
from asked import Ask, ask_in
from mlflow.tracking._tracking_service import utils as mlflow_utils
from places import SHARED_DATA, TESTS

from datasets.molecules import read_table
from datasets.sources import MoleculeOptions, MoleculeSet, open_molecules
from engine import resources
from engine.on_ray import cluster
from record import mlflow_store

QM9 = SHARED_DATA / "qm9.parquet"

INTEGRATION, ACCEPTANCE = TESTS / "integration", TESTS / "acceptance"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Distributes the tests over the processes of pytest-xdist, and sorts them.

    All tests that use Ray run in one process and first, because together they take longest. Then
    come integration and acceptance tests, where each file runs in one process because its tests
    share fixtures. Unit tests are distributed one by one.
    """
    for item in items:
        if item.path.parent == ACCEPTANCE:
            item.add_marker(pytest.mark.acceptance)
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.xdist_group("ray"))
        elif item.path.parent in (INTEGRATION, ACCEPTANCE):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    order = ("ray", "xdist_group")
    items.sort(key=lambda item: [not item.get_closest_marker(name) for name in order])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Limits torch to one thread, whatever the test before has set.

    The models are too small for more, and the last bits of a sum depend on it.
    """
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _without_finals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches finals off by default, so that a study ends with its search."""
    monkeypatch.setenv("ORRERY_FINALISTS", "0")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder that all processes of a test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def _new_databases_are_copies(run_folder: Path) -> Iterator[None]:
    """Copies new MLflow databases from a template, because creating one takes seconds: MLflow runs
    the migrations of all its versions."""
    template, make = run_folder / "mlflow.db", mlflow_store.make_database

    def copy(file: Path) -> None:
        make(template)
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(template, file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_store, "make_database", copy)
        yield


class _Forgetful(OrderedDict[str, Any]):
    """A cache that stores nothing."""

    def __setitem__(self, key: str, value: Any) -> None:
        del key, value


@pytest.fixture(scope="session", autouse=True)
def _files_of_a_copied_run_are_those_of_the_copy() -> Iterator[None]:
    """Disables MLflow's cache of artifact locations, whose key is the run's id: copies of a run
    have the same id."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_utils, "_artifact_repos_cache", _Forgetful())
        yield


@pytest.fixture(scope="session")
def one_ray(run_folder: Path) -> Iterator[None]:
    """Starts the only Ray of a test run; its workers find `fake_study` by the inherited path."""
    (run_folder / "ray").touch(exist_ok=False)  # fails in a second process that has tests of Ray
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TESTS))
        cluster.start()
        yield
        ray.shutdown()


@pytest.fixture(autouse=True)
def _ray_where_it_is_marked(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray"):
        request.getfixturevalue("one_ray")


@pytest.fixture(autouse=True)
def _ray_is_not_started_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets Ray start when it is needed: each command that is refused would start and stop one."""
    monkeypatch.setattr(resources, "is_new", lambda command: False)


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Returns `ask_in` for a folder of the test, which runs the fake study there."""
    return partial(ask_in, tmp_path)


@pytest.fixture(scope="session")
def stopped_early(tmp_path_factory: pytest.TempPathFactory, one_ray: None) -> Path:
    """Runs the fake study on Ray, with early stopping and finals; returns its folder, which tests
    may only read."""
    del one_ray
    folder = tmp_path_factory.mktemp("early")
    drawn = ("--ending", "good", "bad", "--sampler", "random", "--trials", "12", "--epochs", "10")
    finals = ("--finalists", "2", "--seeds", "3", "--finals", "all")
    assert ask_in(folder, "--max-concurrent", "1", *drawn, *finals) == 0
    return folder


@pytest.fixture(scope="session")
def cache(run_folder: Path) -> Path:
    """Returns a folder of generated tables and graphs, shared by all tests that do not count its
    files."""
    return run_folder / "data"


@pytest.fixture(scope="session")
def molecules(cache: Path) -> MoleculeSet:
    """Generates 120 molecules, split into 96 / 12 / 12 to train, validate and test."""
    return open_molecules(MoleculeOptions(molecules=120), seed=0, cache=cache)


@pytest.fixture(scope="session")
def molecule_rows(molecules: MoleculeSet, cache: Path) -> pa.Table:
    """Returns the table from which `molecules` was made; none of its rows was left out."""
    assert molecules.dropped == 0
    return read_table(next(cache.glob("gfn2-120-*.parquet")))


@pytest.fixture(scope="session")
def qm9_path() -> Path:
    """Returns the path of QM9's molecule table, or skips the test if the file is missing; it is
    not part of the repository."""
    if not QM9.is_file():
        pytest.skip(f"needs QM9 as a molecule table: no file {os.path.relpath(QM9)}")
    return QM9


@pytest.fixture(scope="session")
def trained(run_folder: Path, cache: Path) -> Path:
    """Trains the studies of `trained_studies` once; returns their runs folder, which tests may
    only read or copy."""
    return trained_studies.train_once(run_folder / "trained", cache)


@pytest.fixture(scope="module")
def trained_copy(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies the runs folder of `trained` for a test file, which may change the copy."""
    return trained_studies.copy(trained, tmp_path_factory.mktemp("copy") / "runs")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Starts an S3 server in this process and returns its address.

    All tests share one server, because S3 clients are cached by address.
    """
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def s3_environment(s3_server: str) -> Iterator[None]:
    """Sets the environment variables that make S3 clients use `s3_server`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", s3_server)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield
