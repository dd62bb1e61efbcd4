"""Every command says what it has to, whatever its terminal can show; the work is never lost."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from trained_studies import DRIVES, MOLECULES, command

from analysis import finals, loss_curves, predict, r2_table, report, rollouts
from engine.main import main
from studies import doctor, gnn_sweep, replay


class Terminal:
    """One that knows ASCII only, as with PYTHONIOENCODING=ascii."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        self.patch = monkeypatch

    def __call__(self, command: Callable[..., int], *arguments: object) -> str:
        """Runs a command that ends well; returns what it printed."""
        written = io.BytesIO()
        with self.patch.context() as patch:
            patch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
            assert command(*arguments) == 0
            sys.stdout.flush()
            return written.getvalue().decode("ascii")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(monkeypatch)


def test_a_study_comes_to_its_report(trained_copy: Path, cache: Path, terminal: Terminal) -> None:
    page = trained_copy / MOLECULES / "report" / "report.md"
    page.unlink()
    said = terminal(main, gnn_sweep.STUDY, command(MOLECULES, trained_copy, cache))
    assert "baseline R?" in said
    assert "baseline R²" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("analysis", [r2_table, finals, loss_curves, report, doctor])
def test_a_command_says_what_it_found(
    trained_copy: Path, terminal: Terminal, analysis: ModuleType
) -> None:
    assert terminal(analysis.main, [MOLECULES, "--runs-dir", str(trained_copy)])


def test_what_takes_data_says_what_it_found(
    trained_copy: Path, cache: Path, terminal: Terminal
) -> None:
    where = ["--runs-dir", str(trained_copy), "--data-dir", str(cache)]
    assert "champion" in terminal(predict.main, [MOLECULES, "--smiles", "CCO", *where])
    assert "freeze" in terminal(rollouts.main, [DRIVES, *where[:2]])
    assert "bit for bit" in terminal(replay.main, [f"{MOLECULES}/0", *where])


def test_help_is_printed(terminal: Terminal) -> None:
    def helped() -> int:
        with pytest.raises(SystemExit) as ended:
            main(gnn_sweep.STUDY, ["--help"])
        assert ended.value.code == 0
        return 0

    assert "--runs-dir" in terminal(helped)
