"""Processes that write to a log and are killed, or meet."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from places import ROOT, TESTS

from record.events import Proposed
from record.log import FileLog, Log
from record.store_log import StoreLog


@contextmanager
def writer(kind: str, path: Path, first: int) -> Iterator[subprocess.Popen[str]]:
    """A process that waits for a line before it begins to write, and is killed in the end."""
    with subprocess.Popen(
        [sys.executable, str(TESTS / "writing.py"), kind, str(path), str(first)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{TESTS}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def numbers(log: Log) -> list[int]:
    return [event.number for event in log.read() if isinstance(event, Proposed)]


@pytest.mark.parametrize("kind", ["file", "store"])
def test_what_a_killed_process_has_appended_is_there_each_group_whole(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    opened = (lambda: FileLog(path)) if kind == "file" else lambda: StoreLog(path)
    for round_ in range(3):
        before = numbers(opened())
        with writer(kind, path, first=len(before) // 2) as process:
            let_go(process)
            assert process.stdout is not None
            for _ in range(5 + 7 * round_):
                process.stdout.readline()
            process.kill()
            done = process.stdout.read().splitlines()
        found = numbers(opened())
        assert found == [number for number in range(len(found) // 2) for _ in range(2)]
        assert len(found) // 2 >= len(before) // 2 + 5 + 7 * round_ + len(done)


def test_of_two_processes_with_one_log_in_a_store_one_stops_and_says_so(tmp_path: Path) -> None:
    """Of what the superseded one says that it has done, nothing is lost."""
    with writer("store", tmp_path, 0) as one, writer("store", tmp_path, 1000) as two:
        said: dict[int, list[str]] = {one.pid: [], two.pid: []}
        let_go(one)
        let_go(two)
        while not any(lines and "superseded" in lines[-1] for lines in said.values()):
            for process in (one, two):
                assert process.stdout is not None
                said[process.pid].append(process.stdout.readline())
    (loser,) = [lines for lines in said.values() if "superseded" in lines[-1]]
    assert "another driver went on with the study" in loser[-1]
    found = numbers(StoreLog(tmp_path))
    assert len({number // 1000 for number in found}) == 1, "both began at the same place"
    first = found[0]
    assert found == [number for number in range(first, first + len(found) // 2) for _ in range(2)]
