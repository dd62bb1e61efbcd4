"""Of what a trial died is told whatever its process wrote."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayTaskError, WorkerCrashedError

from engine.on_ray import post_mortem


@pytest.mark.parametrize("locale", ["utf-8", "ascii"])
def test_an_error_file_is_read_whatever_the_locale_and_the_bytes_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locale: str
) -> None:
    monkeypatch.setattr("locale.getencoding", lambda: locale)
    (tmp_path / "error.txt").write_bytes("2 Å\n".encode() + b"caf\xe9: died\n")
    trial: Any = SimpleNamespace(error_file=str(tmp_path / "error.txt"), pickled_error_file=None)
    error, text = post_mortem.error_of(trial)
    assert error is None
    assert text == "2 Å\ncaf�: died\n"
    assert post_mortem.last_line(text) == "caf�: died"


@pytest.mark.parametrize(
    ("error", "died"),
    [
        (WorkerCrashedError(), True),
        (RayTaskError("step", "", WorkerCrashedError()), True),  # of a process of its cores
        (RayTaskError("step", "", RuntimeError("planted")), False),
        (None, False),
    ],
)
def test_a_trial_that_lost_a_process_did_not_fail_by_itself(
    error: Exception | None, died: bool
) -> None:
    assert post_mortem.process_died(error, str(error)) == died
