"""How messages name the project's commands, in a checkout and elsewhere."""

from pathlib import Path

import pytest
from places import ROOT

from record.own_commands import own_command


def test_a_checkout_has_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert own_command("studies.doctor") == "python studies/doctor.py"
    assert (ROOT / "studies/doctor.py").is_file()


def test_elsewhere_commands_are_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert own_command("analysis.report") == "python -m analysis.report"
