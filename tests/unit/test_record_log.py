"""The logs of a study, in memory, in a file and in a folder: contract, damage, and two writers."""

import os
import stat
from pathlib import Path

import pytest
from happened import began, ended, placed, proposed, reported, story
from log_contract import LogContract, Open

from datasets.errors import InputError
from record import lines
from record.log import FileLog, MemoryLog, Superseded


class TestMemoryLog(LogContract):
    def opener(self, folder: Path) -> Open:
        log = MemoryLog()
        return lambda: log


class TestFileLog(LogContract):
    def opener(self, folder: Path) -> Open:
        return lambda: FileLog(folder / "s" / "log.jsonl")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A log of three groups."""
    log = FileLog(tmp_path / "log.jsonl")
    log.append([began()])
    log.append([proposed(0), placed(0)])
    log.append([reported(0, 1)])
    return log.path


def test_of_a_torn_last_line_nothing_is_read_and_the_log_goes_on_before_it(file: Path) -> None:
    content = file.read_bytes()
    before = content.rindex(b"\n", 0, -1) + 1
    for cut in range(before, len(content)):
        file.write_bytes(content[:cut])
        assert list(FileLog(file).read()) == [began(), proposed(0), placed(0)]
        assert file.stat().st_size == cut, "who only reads changes nothing"
        FileLog(file).append([reported(0, 1)])
        assert file.read_bytes() == content


def test_a_last_line_of_which_only_a_part_reached_the_disk_is_cut_off(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-60] + bytes(59) + b"\n")
    log = FileLog(file)
    assert list(log.read()) == [began(), proposed(0), placed(0)]
    assert log.torn == len(content) - content.rindex(b"\n", 0, -1) - 1
    log.append([reported(0, 1)])
    assert file.read_bytes() == content


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_damaged_line_before_the_last_is_named(file: Path, line: int) -> None:
    content = file.read_bytes()
    found = content.split(b"\n")
    found[line - 1] = found[line - 1].replace(b":", b";", 1)
    file.write_bytes(b"\n".join(found))
    for use in (lambda log: list(log.read()), lambda log: log.append([reported(0, 2)])):
        with pytest.raises(InputError, match=rf"log\.jsonl, line {line}, is damaged"):
            use(FileLog(file))
    assert len(file.read_bytes()) == len(content), "no line is added to a damaged log"


@pytest.mark.parametrize("change", ["twice", "lost"])
def test_a_line_that_is_there_twice_or_was_taken_out_is_named(file: Path, change: str) -> None:
    found = file.read_bytes().splitlines(keepends=True)
    changed = [*found[:2], *(found[1:] if change == "twice" else found[3:])]
    file.write_bytes(b"".join(changed))
    with pytest.raises(InputError, match=r"log\.jsonl, line 3, has the number"):
        list(FileLog(file).read())


def test_another_version_is_refused_in_one_line_that_names_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "VERSION", lines.VERSION - 1)
    with pytest.raises(InputError) as refusal:
        list(FileLog(file).read())
    said = str(refusal.value)
    assert f"has version {lines.VERSION + 1} of the log's format" in said
    assert f"this code reads versions {lines.OLDEST} to {lines.VERSION}" in said
    assert "\n" not in said


def test_a_log_of_the_version_before_is_read_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = FileLog(tmp_path / "old.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(lines, "VERSION", lines.OLDEST)
        old.append(story()[:1])
    old.close()
    log = FileLog(tmp_path / "old.jsonl")
    log.append(story()[1:])
    assert list(log.read()) == story()


@pytest.mark.parametrize("content", [b"no log", b"no log\n", b"{}\n{}\n"])
def test_a_file_that_is_no_log_is_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "log.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError, match="line 1"):
        FileLog(file).append([began()])
    assert file.read_bytes() == content


def test_an_event_of_no_known_kind_is_refused(file: Path) -> None:
    log = FileLog(file)
    list(log.read())
    odd = lines._line(4, [{"event": "Dreamt", "number": 3}])
    file.write_bytes(file.read_bytes() + odd + lines.line(5, [ended(0, "failed")]))
    with pytest.raises(InputError, match=r"line 5, is damaged: .*Dreamt"):
        list(FileLog(file).read())


@pytest.mark.parametrize("written", [0, 1, 30, None])
def test_after_an_append_that_failed_the_log_takes_no_more(
    file: Path, monkeypatch: pytest.MonkeyPatch, written: int | None
) -> None:
    """Whether nothing of it was written, a part, or all, and only the flush failed."""
    log = FileLog(file)
    content = file.read_bytes()
    pwrite = os.pwrite

    def short(descriptor: int, text: bytes, offset: int) -> int:
        pwrite(descriptor, text[:written], offset)
        raise OSError(28, "No space left on device")

    def no_flush(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        if written is None:
            patch.setattr(os, "fsync", no_flush)
        else:
            patch.setattr(os, "pwrite", short)
        with pytest.raises(OSError, match=r"No space left|Input/output"):
            log.append([ended(0, "failed")])
    with pytest.raises(OSError, match=r"No space left|Input/output"):
        log.append([ended(0, "failed")])
    there = [began(), proposed(0), placed(0), reported(0, 1)]
    assert list(FileLog(file).read()) == there + [ended(0, "failed")] * (written is None)
    if written is not None:
        FileLog(file).append([ended(0, "failed")])
        assert file.read_bytes() == content + lines.line(4, [ended(0, "failed")])


def test_of_two_processes_that_write_to_a_file_the_later_one_stops(file: Path) -> None:
    one, two = FileLog(file), FileLog(file)
    one.append([reported(0, 2)])
    two.append([reported(0, 3)])
    for _ in range(2):
        with pytest.raises(Superseded, match="another process wrote"):
            one.append([ended(0, "failed")])
    expected = [began(), proposed(0), placed(0), *(reported(0, epoch) for epoch in (1, 2, 3))]
    assert list(FileLog(file).read()) == expected


def test_each_group_is_flushed_once_and_so_is_the_folder_of_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []

    def noted(descriptor: int) -> None:
        flushed.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    monkeypatch.setattr(os, "fsync", noted)
    log = FileLog(tmp_path / "s" / "log.jsonl")
    log.append([began(), proposed(0), placed(0)])
    assert flushed == ["file", "folder", "file"]
    log.append([reported(0, 1), ended(0, "failed")])
    assert flushed == ["file", "folder", "file", "file"]


def test_a_log_is_as_long_after_any_number_of_restarts(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    for event in story():
        FileLog(file).append([event])
    again = FileLog(tmp_path / "again.jsonl")
    for event in story():
        again.append([event])
    assert file.read_bytes() == again.path.read_bytes()
