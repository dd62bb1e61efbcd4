"""Fixtures that several test files share: generated molecules, and QM9 where it is at hand."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import ray
import torch
from fake_study import FAKE

from datasets.molecules import read_table
from datasets.sources import MoleculeOptions, MoleculeSet, open_molecules
from studies.study import main

QM9 = Path(__file__).resolve().parents[2] / "shared" / "data" / "qm9.parquet"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start Ray first: they take longest, and several files run at a time."""
    ray_files = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: item.path not in ray_files)


@pytest.fixture(autouse=True)
def _without_finals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study ends with its search unless a test says otherwise."""
    monkeypatch.setenv("ORRERY_FINALISTS", "0")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """The models here are too small for threads to help, and the sums must not depend on them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def workers_find_the_fake_study() -> Iterator[None]:
    """Ray's workers import `fake_study` by the path that they inherit."""
    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield
    ray.shutdown()


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., int]:
    """Asks the fake study, under the name s, with everything in a folder of the test."""

    def ask(*arguments: str) -> int:
        where = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
        return main(FAKE, [*where, "--name", "s", *arguments])

    return ask


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of generated tables and graphs, shared by all tests that do not count its files."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def molecules(cache: Path) -> MoleculeSet:
    """120 generated molecules, split 96 / 12 / 12."""
    return open_molecules(MoleculeOptions(molecules=120), seed=0, cache=cache)


@pytest.fixture(scope="session")
def molecule_rows(molecules: MoleculeSet, cache: Path) -> pa.Table:
    """The table that `molecules` came from; none of its rows was left out."""
    assert molecules.dropped == 0
    return read_table(next(cache.glob("gfn2-120-*.parquet")))


@pytest.fixture(scope="session")
def qm9_path() -> Path:
    """The molecule table of QM9, which is no part of the repository."""
    if not QM9.is_file():
        pytest.skip(f"needs QM9 as a molecule table: no file {os.path.relpath(QM9)}")
    return QM9
