"""The command line that the analyses share."""

from argparse import Namespace
from pathlib import Path

import pytest

from analysis import command_line


def folders(*arguments: str) -> tuple[Path, Path, Path]:
    """Where an analysis is told that runs, data and report are."""
    told: list[tuple[Path, Path, Path]] = []

    def analyse(typed: Namespace, uri: str, report: Path) -> str:
        del uri
        told.append((typed.runs_dir, typed.data_dir, report))
        return ""

    line = command_line.parser("Looks.")
    command_line.add_data_dir(line)
    assert command_line.answer(line, ["s", *arguments], analyse) == 0
    return told[0]


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ORRERY_RUNS_DIR", "ORRERY_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_home_folders_are_meant_in_options_and_variables(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, data, report = folders("--runs-dir=~/r", "--data-dir=~/d")
    assert (runs, data, report) == (home / "r", home / "d", home / "r" / "s" / "report")
    monkeypatch.setenv("ORRERY_RUNS_DIR", "~/variable")
    assert folders()[0] == home / "variable"


def test_an_empty_variable_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORRERY_RUNS_DIR", "")
    monkeypatch.setenv("ORRERY_DATA_DIR", "")
    assert folders()[:2] == (Path("runs"), Path("data"))


@pytest.mark.parametrize(
    ("argument", "said"),
    [("--runs-dir=~nobody-here/x", "there is no home folder"), ("--colour", "unrecognized")],
)
def test_a_bad_argument_gets_one_line(
    argument: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        folders(argument)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert said in told
    assert told.count("\n") == 1
