"""docs/your-own-study.md: its code is the example, and its commands run in an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import OWN, PAGES, blocks
from places import ROOT

FIT, OTHER = PAGES["docs/your-own-study.md"].split("## A trial that is no fit")
CODE, HILL = (
    [text for marked, text in blocks(part) if marked == "python"] for part in (FIT, OTHER)
)


def without_blank_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_the_code_of_the_page_is_the_example() -> None:
    example = (ROOT / "studies/example.py").read_text(encoding="utf-8")
    assert without_blank_lines("\n".join(CODE)) == without_blank_lines(example)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the two files that the page makes, and nothing else."""
    made = tmp_path_factory.mktemp("own")
    (made / "digits.py").write_text("\n".join(CODE), encoding="utf-8")
    (made / "hill.py").write_text("\n".join(HILL), encoding="utf-8")
    return made


@pytest.mark.parametrize("command", OWN)
def test_the_commands_of_the_page_run_one_after_the_other(command: str, folder: Path) -> None:
    program, *arguments = command.split()
    assert program == "python"
    kept = {n: v for n, v in os.environ.items() if n not in ("ORRERY_FINALISTS", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=kept,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_study_ends_in_a_report_and_its_table(folder: Path) -> None:
    report = folder / "runs/digits/report"
    assert "test digits" in (report / "finals.md").read_text(encoding="utf-8")
    assert "Which small network reads handwritten digits best?" in (
        report / "report.html"
    ).read_text(encoding="utf-8")


def test_the_study_without_a_network_ends_in_a_report_and_its_table(folder: Path) -> None:
    table = (folder / "runs/hill/report/finals.md").read_text(encoding="utf-8")
    assert "test closeness" in table
    assert "with fresh seeds" in table
