"""The benchmark of many trials at once, with a few."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.ray
@pytest.mark.slow
def test_a_row_for_each_size():
    few = ["--trials", "4", "8", "--at-once", "3", "--epochs", "2", "--seconds", "0.1"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "scale.py"), *few],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    head, line, *rows = done.stdout.splitlines()
    assert "driver CPU a report, ms" in head
    assert set(line) == {"|", "-"}
    cells = [[float(cell.replace(",", "")) for cell in row.strip("| ").split("|")] for row in rows]
    assert [trials for trials, *_ in cells] == [4, 8]
    for trials, reports, *others in cells:
        assert trials <= reports <= 2 * trials
        assert min(others) > 0
