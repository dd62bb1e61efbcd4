"""The pre-flight of a whole study, on Ray and without."""

from pathlib import Path

import pytest
from fake_study import FAKE

from engine.main import main
from trainables.fit import SupervisedLearner


def ask(folder: Path, *arguments: str) -> int:
    where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]
    return main(FAKE, [*where, "--name", "s", "--dry-run", "--epochs", "3", *arguments])


@pytest.mark.parametrize("place", [["--local"], pytest.param([], marks=pytest.mark.ray)])
def test_a_dry_run_ends_with_the_forecast_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: list[str]
) -> None:
    assert ask(tmp_path, *place, "--ending", "good", "no_start", "--trials", "4") == 0
    said = capsys.readouterr().out
    assert "forecast: 4 trials of 3 epochs" in said
    assert "the smallest no_start cannot be trained: RuntimeError: planted" in said
    assert [path for path in (tmp_path / "runs").rglob("*") if path.is_file()] == []


def test_a_space_of_which_nothing_can_be_trained_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SupervisedLearner, "probe", None)
    assert ask(tmp_path, "--local", "--ending", "good") == 2
    assert "error: not even the smallest configuration can be trained: " in capsys.readouterr().err
    assert [path for path in (tmp_path / "runs").rglob("*") if path.is_file()] == []
