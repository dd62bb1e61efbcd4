"""The smaller studies are killed on the way, go on, end in a report and are replayed."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from places import ROOT


@dataclass(frozen=True)
class Asked:
    """A study on little data.

    Attributes:
        script: The study's file in ``studies/``.
        arguments: Its arguments.
        said: A text of its report.
    """

    script: str
    arguments: tuple[str, ...]
    said: str


STUDIES = {
    "nodes": Asked(
        "cora_sweep.py",
        ("--family", "gcn", "gcn2", "--epochs", "5", "--test-splits", "4"),
        "label propagation",
    ),
    "cartpole": Asked(
        "cartpole_sweep.py",
        ("--epochs", "5", "--updates-per-step", "0.25", "--batch-size", "32"),
        "random policy",
    ),
}

COMMON = ("--trials", "4", "--finalists", "1", "--seeds", "2", "--name", "killed")


def environment() -> dict[str, str]:
    dropped = ("ORRERY_FINALISTS", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "OMP_NUM_THREADS": "1"}


def command(asked: Asked) -> list[str]:
    return [sys.executable, str(ROOT / "studies" / asked.script), *asked.arguments, *COMMON]


def ran(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        words, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def reports_in_the_log(folder: Path) -> int:
    log = folder / "runs" / "killed" / "log.jsonl"
    return log.read_text().count('"Reported"') if log.is_file() else 0


def killed_on_the_way(asked: Asked, folder: Path) -> None:
    """Kills the study, and all that it has started, once two reports are in the log."""
    with subprocess.Popen(
        command(asked),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        begun = time.monotonic()
        while reports_in_the_log(folder) < 2:
            assert running.poll() is None, "it ended before it could be killed"
            assert time.monotonic() - begun < 300, "no epoch came"
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)


@pytest.fixture(scope="module", params=STUDIES)
def study(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Asked, Path]:
    """A study that was killed on the way and then went on to its end, and its folder."""
    asked, folder = STUDIES[request.param], tmp_path_factory.mktemp(request.param)
    killed_on_the_way(asked, folder)
    said = ran(*command(asked), cwd=folder)
    assert "best of 4 trials" in said
    assert "is the champion" in said
    return asked, folder


def test_it_ends_in_a_report_with_its_baselines(study: tuple[Asked, Path]) -> None:
    asked, folder = study
    report = folder / "runs/killed/report"
    assert asked.said in (report / "report.md").read_text(encoding="utf-8")
    assert asked.said in (report / "report.html").read_text(encoding="utf-8")
    assert (report / "finals.png").stat().st_size > 5_000


@pytest.mark.parametrize("number", [0, 3, 5])
def test_its_trials_are_replayed_bit_for_bit(study: tuple[Asked, Path], number: int) -> None:
    _, folder = study
    said = ran(sys.executable, "-m", "studies.replay", f"killed/{number}", cwd=folder)
    assert "numbers: bit for bit the same" in said


def test_nothing_of_it_was_lost(study: tuple[Asked, Path]) -> None:
    _, folder = study
    said = ran(sys.executable, "-m", "studies.doctor", "killed", cwd=folder)
    assert "MLflow shows what the log says" in said
