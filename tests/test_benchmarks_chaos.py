"""The short forms of benchmarks/chaos.py and benchmarks/large_study.py."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.ray
@pytest.mark.slow
def test_a_study_whose_parts_are_killed_loses_nothing() -> None:
    printed = run("chaos.py", "--runs", "2", "--seed", "1")
    assert re.findall(r"^\| \d \| (.+?) \| [1-9]", printed, re.MULTILINE) == ["driver", "a worker"]
    assert "\n0 violations in 2 runs" in printed


@pytest.mark.slow
def test_a_study_with_many_trials_starts() -> None:
    printed = run("large_study.py", "--trials", "12", "--rounds", "1")
    assert re.search(r"a study of 12 recorded trials begins after \d+", printed)
    assert "ends with 0" in printed
