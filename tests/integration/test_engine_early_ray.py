"""Ray begins before it is needed and is left before the end; so does scoring on Ray."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from asked import state_in_log
from fake_scorecard import FakeScorecard
from fake_study import FAKE
from places import ROOT, TESTS

from engine.main import main
from record.trial import Replicate

COMMAND = """
import sys
from dataclasses import replace
import psutil
from datasets.errors import InputError
from engine.main import main
from engine.on_ray import cluster
from fake_study import FAKE

def refuse(*_):
    cluster.start()
    print(sorted({child.name() for child in psutil.Process().children()} & {"raylet"}))
    raise InputError("planted: no such data")

study = replace(FAKE, open=refuse) if sys.argv[1] == "refused" else FAKE
code = main(study, [*sys.argv[2:], "--ending", "good", "--trials", "1", "--epochs", "1"])
print(code, [child.name() for child in psutil.Process().children(recursive=True)])
"""
"""Program that runs the fake study, and then names what processes it has left."""


def in_a_process(folder: Path, kind: str, *more: str) -> tuple[str, str]:
    """Returns what the study's command printed in a process of its own, and its errors."""
    where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]
    path = os.pathsep.join([str(ROOT), str(TESTS)])
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, kind, *where, "--name", "s", *more],
        env={**os.environ, "PYTHONPATH": path, "ORRERY_FINALISTS": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout, done.stderr


def test_a_refused_command_leaves_no_ray(tmp_path: Path) -> None:
    printed, errors = in_a_process(tmp_path, "refused")
    assert printed.splitlines() == ["['raylet']", "2 []"]
    assert errors == "error: planted: no such data\n"


def test_a_study_leaves_no_ray(tmp_path: Path) -> None:
    printed, errors = in_a_process(tmp_path, "good", "--smoke")
    assert printed.splitlines()[-1] == "0 []", printed + errors


def test_a_ray_that_cannot_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/dev/null")
    printed, errors = in_a_process(tmp_path, "good", "--max-failures", "0", "--smoke")
    assert printed.splitlines()[-1] == "2 []"
    assert errors.startswith("error: Ray does not start"), errors
    assert errors.count("\n") == 1, errors


@pytest.mark.ray
@pytest.mark.parametrize("slots", [2, 3])
def test_trials_are_scored_while_the_last_final_runs(tmp_path: Path, slots: int) -> None:
    study = replace(FAKE, scorecard=FakeScorecard())
    where = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
    asked = ["--ending", "good", "--trials", "2", "--epochs", "2", "--max-concurrent", str(slots)]
    finals = ["--finalists", "1", "--seeds", "3", "--marker", str(tmp_path / "scored")]
    assert main(study, [*where, "--name", "s", *asked, *finals]) == 0
    state = state_in_log(tmp_path)
    waited = [trial for trial in state.with_role(Replicate) if trial.config["seed"] == 3]
    assert [trial.status for trial in waited] == ["finished"]
    assert state.scores.keys() >= {trial.number for trial in state.with_role(Replicate)}


@pytest.mark.ray
def test_scoring_that_crashes_beside_a_running_trial_is_done_again(tmp_path: Path) -> None:
    study = replace(FAKE, scorecard=FakeScorecard(is_fragile=True))
    where = ["--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data")]
    asked = ["--ending", "good", "--trials", "2", "--epochs", "2", "--max-concurrent", "2"]
    finals = ["--finalists", "1", "--seeds", "3", "--marker", str(tmp_path / "scored")]
    assert main(study, [*where, "--name", "s", *asked, *finals]) == 0
    state = state_in_log(tmp_path)
    finals_ended = {trial.number for trial in state.with_role(Replicate)}
    assert len(finals_ended) == 3
    assert finals_ended < state.scores.keys()
