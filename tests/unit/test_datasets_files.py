"""Files that are whole or absent, whoever writes them at once."""

import errno
import os
import re
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from places import ROOT

from datasets.files import put_in_place, write_new, write_whole, written_whole


@pytest.mark.parametrize("threads", [2, 4])
def test_several_who_write_one_file_at_once_leave_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """As two reports of a study do, or a report and the study's end."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the disk would take seconds
    file = tmp_path / "report.html"
    contents = [bytes([letter]) * 200_000 for letter in range(threads)]

    def write_often(content: bytes) -> None:
        for _ in range(100):
            write_whole(file, content)

    with ThreadPoolExecutor(threads) as pool:
        writers = [pool.submit(write_often, content) for content in contents]
        while not all(writer.done() for writer in writers):
            assert not file.exists() or file.read_bytes() in contents
    for writer in writers:
        writer.result()
    assert file.read_bytes() in contents
    assert [left.name for left in tmp_path.iterdir()] == ["report.html"]


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is flushed to the disk from now on: files and folders, by kind."""
    kinds: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        kinds.append("folder" if is_folder else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return kinds


WRITERS = pytest.mark.parametrize("write", [write_whole, write_new])
Write = Callable[[Path, bytes], None]


@WRITERS
def test_the_disk_knows_the_name_of_a_file_that_is_written(
    tmp_path: Path, flushed: list[str], write: Write
) -> None:
    write(tmp_path / "new" / "file", b"all of it")
    assert (tmp_path / "new" / "file").read_bytes() == b"all of it"
    assert flushed == ["file", "folder"]


@WRITERS
def test_a_file_system_that_flushes_no_folders_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    fsync = os.fsync

    def of_files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_only)
    write(tmp_path / "file", b"all of it")
    assert (tmp_path / "file").read_bytes() == b"all of it"


@WRITERS
def test_a_folder_that_the_disk_loses_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output error"):
        write(tmp_path / "file", b"all of it")


def test_of_two_who_write_a_new_file_one_succeeds_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_new(tmp_path / "file", b"one's")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "file", b"another's")
    assert (tmp_path / "file").read_bytes() == b"one's"
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


def test_what_was_written_beside_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, flushed: list[str]
) -> None:
    beside = tmp_path / "graphs.partial"
    (beside / "inner").mkdir(parents=True)
    (beside / "inner" / "positions.npy").write_bytes(b"positions")
    (beside / "targets.npy").write_bytes(b"targets")
    put_in_place(beside, tmp_path / "graphs")
    assert (tmp_path / "graphs" / "inner" / "positions.npy").read_bytes() == b"positions"
    assert not beside.exists()
    assert sorted(flushed[:-1]) == ["file", "file", "folder", "folder"]
    assert flushed[-1] == "folder"


@pytest.mark.parametrize("module", ["datasets", "trainables", "benchmarks", "engine", "record"])
def test_nothing_is_renamed_that_is_not_on_the_disk(module: str) -> None:
    """What is written beside its place gets there by `put_in_place` or `write_whole` alone."""
    renaming = {
        str(file.relative_to(ROOT))
        for file in (ROOT / module).rglob("*.py")
        if re.search(r"\b(os\.)?(rename|replace)\((beside|fetched|path|partial)", file.read_text())
        or re.search(r"\b(beside|fetched|partial)\.(rename|replace)\(", file.read_text())
    }
    assert renaming <= {"datasets/files.py"}


def write_file(beside: Path) -> None:
    beside.write_bytes(b"content")


def write_folder(beside: Path) -> None:
    beside.mkdir()
    (beside / "part").write_bytes(b"content")


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_what_is_written_beside_is_there_when_it_is_whole(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "new" / "folder" / "name"
    with written_whole(path) as beside:
        write(beside)
        assert not path.exists()
    assert [left.name for left in path.parent.iterdir()] == ["name"]
    assert (
        next(file for file in (path, path / "part") if file.is_file()).read_bytes() == b"content"
    )


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_writing_that_fails_leaves_what_was_there(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    (tmp_path / "name").write_bytes(b"before")
    with pytest.raises(OSError, match="full"), written_whole(tmp_path / "name") as beside:
        write(beside)
        raise OSError("the disk is full")
    assert [left.name for left in tmp_path.iterdir()] == ["name"]
    assert (tmp_path / "name").read_bytes() == b"before"
