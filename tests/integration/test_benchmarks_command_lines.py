"""Every command of benchmarks/ answers --help, and bad input, and does nothing then."""

import ast
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from places import ROOT

FOLDER = ROOT / "benchmarks"
COMMANDS = sorted(
    file.name for file in FOLDER.glob("*.py") if '__name__ == "__main__"' in file.read_text()
)

ASK_ALL = """
import contextlib, io, json, runpy, sys

answers = {}
for script in sys.argv[1:]:
    for typed in ("--help", "--no-such-option"):
        sys.argv = [script, typed]
        out, err, code = io.StringIO(), io.StringIO(), "it does not end"
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_path(script, run_name="__main__")
            except SystemExit as ended:
                code = ended.code
        answers[f"{script} {typed}"] = code, out.getvalue(), err.getvalue()
print(json.dumps(answers))
"""
"""Types all commands in one process, which imports what they need once."""

Answers = Mapping[str, tuple[int, str, str]]
"""Command -> its exit code, what it printed, and what it complained of."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("typed")


@pytest.fixture(scope="module")
def answers(folder: Path) -> Answers:
    scripts = [str(FOLDER / name) for name in COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", ASK_ALL, *scripts], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_there_are_commands() -> None:
    assert {"batching.py", "chaos.py", "driver_cost.py", "plain_way.py"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_the_command_is_for(name: str, answers: Answers) -> None:
    code, printed, complained = answers[f"{FOLDER / name} --help"]
    text = ast.get_docstring(ast.parse((FOLDER / name).read_text()))
    assert (code, complained) == (0, "")
    assert printed.startswith(f"usage: {name} ")
    assert text is not None and text.splitlines()[0] in " ".join(printed.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_refused_in_one_line(name: str, answers: Answers) -> None:
    code, printed, complained = answers[f"{FOLDER / name} --no-such-option"]
    assert (code, printed) == (2, "")
    assert complained.startswith("error: ")
    assert len(complained.splitlines()) == 1


def test_nothing_is_written_by_asking(answers: Answers, folder: Path) -> None:
    assert len(answers) == 2 * len(COMMANDS)
    assert list(folder.iterdir()) == []
