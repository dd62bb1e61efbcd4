"""The command line that the analyses share."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from recorded_study import study_of, trial
from sqlalchemy.exc import OperationalError

from analysis import command_line
from datasets.errors import InputError
from record.folder import StudyFolder
from record.recorded_study import RecordedStudy
from trainables.models.gnn import GNNConfig


def typed_by(*arguments: str) -> Namespace:
    """What an analysis is told was typed."""
    told: list[Namespace] = []

    def act(typed: Namespace, uri: str) -> str:
        del uri
        told.append(typed)
        return ""

    line = command_line.parser("Looks.")
    command_line.add_data_dir(line)
    command_line.add_data(line)
    assert command_line.answered(line, ["s", *arguments], act) == 0
    return told[0]


def folders(*arguments: str) -> tuple[Path, Path, Path]:
    """Where an analysis is told that runs and data are, and where its report is to go."""
    typed = typed_by(*arguments)
    return typed.runs_dir, typed.data_dir, command_line.folder_of(typed).report


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


def test_files_of_study_and_data_are_none_unless_said(home: Path) -> None:
    typed = typed_by()
    assert (typed.study, typed.study_file, typed.data) == ("s", None, None)
    typed = typed_by("--study", "~/mine.py", "--data", "~/table.parquet")
    assert (typed.study, typed.study_file) == ("s", home / "mine.py")
    assert typed.data == str(home / "table.parquet")


@pytest.fixture
def looked_for(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was looked for, where a study of two trials is found, one of them deleted in MLflow."""
    asked: list[tuple[Any, ...]] = []

    def found(*arguments: Any) -> RecordedStudy:
        asked.append(arguments)
        return study_of([trial(number, GNNConfig(), 0.5) for number in (0, 1)])

    monkeypatch.setattr(command_line, "recorded_study", found)
    monkeypatch.setattr(RecordedStudy, "in_mlflow", lambda study: study.without({1}))
    return asked


def test_an_analysis_gets_the_study_and_the_folder_for_its_results(
    looked_for: list[tuple[Any, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")

    def analyse(study: RecordedStudy, report: Path) -> str:
        return f"{[each.number for each in study.trials]} {report.relative_to(tmp_path)}"

    line = command_line.parser("Looks.")
    assert command_line.answer(line, ["s", "--runs-dir", str(tmp_path)], analyse) == 0
    assert capsys.readouterr().out == "[0] s/report\n"
    assert looked_for == [(StudyFolder(tmp_path, "s"), "http://there", None)]


def test_the_file_that_is_named_defines_the_study(
    looked_for: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("STUDY = 'mine'")
    typed = typed_by("--study", str(tmp_path / "mine.py"))
    command_line.named_study(typed, "")
    assert looked_for[-1][2]() == "mine"
    command_line.study_of(typed, "other", "")
    assert looked_for[-1][0].name == "other"
    assert looked_for[-1][2]() == "mine"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("ftp://me:s3cret@host is none"), "ftp://***@host is none"),
        (OSError(28, "No space left on device", "x.png"), "No space left on device: x.png"),
        (
            MlflowException("http://me:s3cret@host is away\nand more"),
            "the tracking store went away or refused: http://***@host is away",
        ),
        (
            OperationalError("SELECT 1", {}, Exception("locked")),
            "the tracking store went away or refused: (builtins.Exception) locked",
        ),
    ],
    ids=["input", "disk", "MLflow", "database"],
)
def test_what_is_wrong_is_one_line_and_code_2(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(*_: Any) -> str:
        raise error

    assert command_line.answered(command_line.parser("Looks."), ["s"], act) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


def test_an_error_of_the_program_is_not_hidden() -> None:
    def act(*_: Any) -> str:
        raise TypeError("planted")

    with pytest.raises(TypeError, match="planted"):
        command_line.answered(command_line.parser("Looks."), ["s"], act)
