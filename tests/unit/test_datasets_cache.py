"""Prepared data: each made once, here or elsewhere."""

import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from datasets.cache import Cache
from datasets.errors import InputError


@pytest.fixture(params=["folder", "object store"])
def shared(request, tmp_path) -> UPath:
    """A storage that two machines see; a file system in memory stands for an object store."""
    if request.param == "folder":
        return UPath(tmp_path / "shared")
    return UPath(f"memory://{tmp_path.name}/data")


def refused(path: Path) -> None:
    raise AssertionError(f"{path} is made again")


def test_a_file_is_made_once_for_all_machines(tmp_path, shared):
    one, two = (Cache(tmp_path / machine, shared) for machine in ("one", "two"))
    made = one.get("qm9/table.parquet", lambda path: path.write_bytes(b"molecules"))
    assert made == tmp_path / "one" / "qm9" / "table.parquet"
    assert two.get("qm9/table.parquet", refused).read_bytes() == b"molecules"
    assert one.get("qm9/table.parquet", refused) == made


def test_a_folder_is_made_once_for_all_machines(tmp_path, shared):
    def make(folder: Path) -> None:
        folder.mkdir()
        for name in ("targets", "rows"):
            np.save(folder / f"{name}.npy", np.arange(3))

    Cache(tmp_path / "one", shared).get("graphs-abc", make)
    taken = Cache(tmp_path / "two", shared).get("graphs-abc", refused)
    assert sorted(file.name for file in taken.iterdir()) == ["rows.npy", "targets.npy"]
    assert np.load(taken / "rows.npy").tolist() == [0, 1, 2]


def test_an_archive_that_would_unpack_to_more_than_it_is_is_refused(tmp_path):
    """A bomb; what is stored here is not compressed."""
    shared = UPath(tmp_path / "shared")
    Path(str(shared)).mkdir()
    with zipfile.ZipFile(tmp_path / "shared" / "graphs.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("targets.npy", bytes(1_000_000))
    with pytest.raises(InputError, match=r"graphs.zip would unpack to 1,000,000 bytes, it has"):
        Cache(tmp_path / "one", shared).get("graphs", refused)
    left = [path.name for path in (tmp_path / "one").iterdir()]
    assert left == ["graphs.lock"]


def test_without_a_storage_each_machine_makes_its_own(tmp_path):
    Cache(tmp_path / "one").get("table", lambda path: path.write_text("one"))
    made = Cache(tmp_path / "two").get("table", lambda path: path.write_text("two"))
    assert made.read_text() == "two"


def test_what_could_not_be_made_is_nowhere(tmp_path, shared):
    def fails(path: Path) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        Cache(tmp_path / "one", shared).get("table", fails)
    made = Cache(tmp_path / "two", shared).get("table", lambda path: path.write_text("made"))
    assert made.read_text() == "made"


def test_of_two_studies_that_start_together_one_makes_it_and_the_other_waits(tmp_path, shared):
    cache, begun, go_on = Cache(tmp_path, shared), threading.Event(), threading.Event()
    makers: list[str] = []

    def slowly(path: Path) -> None:
        makers.append(threading.current_thread().name)
        begun.set()
        assert go_on.wait(10)
        path.write_text("made")

    first = threading.Thread(target=lambda: cache.get("table", slowly))
    first.start()
    assert begun.wait(10)
    second = threading.Thread(target=lambda: cache.get("table", slowly))
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert len(makers) == 1
    assert (tmp_path / "table").read_text() == "made"
