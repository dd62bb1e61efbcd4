"""Every command says what it has to, whatever its terminal can show; the work is never lost."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from trained_studies import DRIVES, MOLECULES, command

from analysis import finals, loss_curves, predict, r2_table, report, rollouts
from studies import doctor, gnn_sweep, replay, world_model_sweep
from studies.study import main

Said = Callable[[], str]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """What a terminal has been shown that knows ASCII only, as with PYTHONIOENCODING=ascii."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))

    def said() -> str:
        sys.stdout.flush()
        return written.getvalue().decode("ascii")

    return said


def test_a_study_comes_to_its_report(trained_copy: Path, cache: Path, said: Said) -> None:
    page = trained_copy / MOLECULES / "report" / "report.md"
    page.unlink()
    assert main(gnn_sweep.STUDY, command(MOLECULES, trained_copy, cache)) == 0
    assert "baseline R?" in said()
    assert "baseline R²" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("analysis", [r2_table, finals, loss_curves, report, doctor])
def test_a_command_says_what_it_found(
    trained_copy: Path, said: Said, analysis: type[r2_table]
) -> None:
    assert analysis.main([MOLECULES, "--runs-dir", str(trained_copy)]) == 0
    assert said()


def test_a_prediction_of_one_training_has_a_dash(
    trained_copy: Path, cache: Path, said: Said
) -> None:
    where = ["--runs-dir", str(trained_copy), "--data-dir", str(cache)]
    assert predict.main([MOLECULES, "--smiles", "CCO", *where]) == 0
    assert rollouts.main([DRIVES, *where]) == 0
    assert replay.main([f"{MOLECULES}/0", *where]) == 0
    assert "bit for bit the same" in said()


@pytest.mark.parametrize("study", [gnn_sweep.STUDY, world_model_sweep.STUDY])
def test_help_is_printed(said: Said, study: gnn_sweep.Study) -> None:
    with pytest.raises(SystemExit) as ended:
        main(study, ["--help"])
    assert ended.value.code == 0
    assert "--runs-dir" in said()
