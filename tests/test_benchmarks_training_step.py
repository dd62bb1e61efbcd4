"""The benchmark of the training step, at toy size."""

import re
from pathlib import Path

import pytest

from benchmarks.training_step import main


def test_the_table_has_a_row_for_each_configuration(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = ["--molecules", "120", "--data-dir", str(cache), "--rounds", "1", "--device", "cpu"]
    main([*toy, "--config", "gin", "best", "--threads", "1"])
    printed = capsys.readouterr().out
    for name in ("gin", "best"):
        row = rf"^\| {name} +\|.+\| \d+ +\| 1 +\|( [\d.,]+ +\|){{3}}$"
        assert re.search(row, printed, re.M)
        assert f"{name}, 1 thread(s): ratio " in printed
