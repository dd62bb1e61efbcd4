"""NVIDIA's MPS for a study, by a binary that only notes how it was called."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import ROOT

from engine.mps import BINARY, LOGS, PIPES, mps

NOTES = """#!/bin/sh
if [ "$1" = -d ]; then said=start; else read -r said; fi
echo "$said $CUDA_MPS_PIPE_DIRECTORY ${CUDA_VISIBLE_DEVICES-all}" >> "$NOTES"
"""

FAILS = """#!/bin/sh
echo 'Cannot find MPS control daemon process' >&2
echo 'planted: no permission' >&2
exit 1
"""

KILLED = """
import os, signal
from engine.mps import mps
with mps(print):
    os.kill(os.getpid(), signal.SIGKILL)
"""

ON_RAY = """
import os
import ray
from engine.on_ray import cluster
from engine.mps import PIPES, mps
with mps(print, ray.shutdown):
    cluster.start()
    there = ray.remote(lambda: os.environ.get(PIPES)).remote()
    print(ray.get(there) == os.environ[PIPES])
print(ray.is_initialized())
"""


class Daemon:
    """The binary and its notes.

    Args:
        folder: On PATH.
    """

    def __init__(self, folder: Path) -> None:
        self.binary, self.file = folder / BINARY, folder / "notes"
        self.file.touch()

    def does(self, script: str) -> None:
        self.binary.write_text(script)
        self.binary.chmod(0o755)

    def note(self, word: str) -> None:
        with self.file.open("a") as file:
            file.write(f"{word}\n")

    def notes(self) -> list[list[str]]:
        """What was said to it, where its pipes are and which GPUs it sees."""
        return [line.split() for line in self.file.read_text().splitlines()]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """On a machine of which the user was given one GPU; Ray is left alone."""
    made = Daemon(tmp_path)
    made.does(NOTES)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(made.file))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv(PIPES, "/tmp/of-the-user")
    monkeypatch.delenv(LOGS, raising=False)
    return made


def test_the_daemon_serves_what_is_begun_meanwhile_and_ends_after_ray(daemon: Daemon) -> None:
    said: list[str] = []
    with mps(said.append, lambda: daemon.note("ray")):
        pipes = os.environ[PIPES]
        assert Path(pipes).is_dir()
        assert Path(os.environ[LOGS]).is_dir()
        assert Path(pipes).parent.stat().st_mode & 0o077 == 0, "it is nobody else's"
        assert len(pipes) < 60, "a socket lies in there"
        assert daemon.notes() == [["start", pipes, "all"]]
    assert daemon.notes() == [["start", pipes, "all"], ["ray"], ["quit", pipes, "all"]]
    assert (os.environ[PIPES], os.environ.get(LOGS)) == ("/tmp/of-the-user", None)
    assert not Path(pipes).parent.exists()
    assert said == []


@pytest.mark.parametrize("ending", [KeyboardInterrupt, RuntimeError])
def test_the_daemon_ends_with_a_study_that_ends_badly(
    daemon: Daemon, ending: type[BaseException]
) -> None:
    with pytest.raises(ending), mps(print, lambda: daemon.note("ray")):
        raise ending
    assert [words[0] for words in daemon.notes()] == ["start", "ray", "quit"]


def in_a_process(script: str) -> subprocess.CompletedProcess[str]:
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=here, capture_output=True, text=True, timeout=120)


def test_the_daemon_ends_with_a_study_that_is_killed(daemon: Daemon) -> None:
    assert in_a_process(KILLED).returncode == -signal.SIGKILL
    until = time.monotonic() + 20
    while len(daemon.notes()) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert [words[0] for words in daemon.notes()] == ["start", "quit"]


def test_processes_of_ray_are_served_and_gone_before_the_daemon(daemon: Daemon) -> None:
    done = in_a_process(ON_RAY)
    assert done.stdout.split() == ["True", "False"], done.stderr
    assert [words[0] for words in daemon.notes()] == ["start", "quit"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("", f"there is no {BINARY} on PATH, which comes with NVIDIA's driver"),
        (FAILS, f"{BINARY} does not start (planted: no permission)"),
    ],
)
def test_without_a_daemon_a_line_says_so_and_the_study_goes_on(
    daemon: Daemon, script: str, why: str
) -> None:
    daemon.does(script)
    if not script:
        daemon.binary.unlink()
    said: list[str] = []
    with mps(said.append):
        assert os.environ[PIPES] == "/tmp/of-the-user"
    assert said == [f"--mps: {why}; trials that share a GPU take turns on it"]
    assert daemon.notes() == []
