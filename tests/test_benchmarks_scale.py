"""The benchmark of many trials at once, with a few."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def table(*options: str) -> tuple[str, list[list[float]]]:
    """What the benchmark prints: the heads of its columns, and its rows."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "scale.py"), *options],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    head, line, *rows = done.stdout.splitlines()
    assert set(line) == {"|", "-"}
    cells = [[float(cell.replace(",", "")) for cell in row.strip("| ").split("|")] for row in rows]
    return head, cells


@pytest.mark.ray
@pytest.mark.slow
def test_a_row_for_each_size():
    few = ["--trials", "4", "8", "--at-once", "3", "--epochs", "2", "--seconds", "0.1"]
    head, cells = table(*few)
    assert "driver CPU a report, ms" in head
    assert [trials for trials, *_ in cells] == [4, 8]
    for trials, reports, *others in cells:
        assert trials <= reports <= 2 * trials
        assert min(others) > 0


def test_what_asking_takes_as_a_study_grows():
    head, cells = table("--asking", "20", "--at-once", "4")
    assert head == "| trials so far | asking Optuna, ms |"
    assert [number for number, _ in cells] == [*range(2, 21, 2)]
    assert all(milliseconds > 0 for _, milliseconds in cells)
