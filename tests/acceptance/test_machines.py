"""Studies where a job has a share of the machine, or hardly a place to write."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT, TESTS

TOOLS = ("unshare", "setpriv", "mount")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]

CONTAINER = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or MISSING != [],
    reason=f"needs Linux, root and {', '.join(TOOLS)}; missing: {MISSING}",
)

SMOKE = ("--smoke", "--finalists", "0")

SCRIPTS = [
    f"{folder}/{file.name}"
    for folder in ("analysis", "studies")
    for file in sorted((ROOT / folder).glob("*.py"))
    if "__main__" in file.read_text()
]
"""What may be typed after ``python``."""


@pytest.fixture
def stage() -> Iterator[Path]:
    """A folder that every user may enter, with a short path, since Ray's sockets lie below it."""
    folder = Path(tempfile.mkdtemp(prefix="c", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def contained(stage: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a container of its own, see container.sh."""
    script = str(TESTS / "acceptance" / "container.sh")
    places = (str(stage), str(ROOT), sys.prefix, sys.base_prefix)
    return subprocess.run(
        ["unshare", "--mount", script, *places, *command],
        capture_output=True,
        text=True,
        check=False,
    )


def study(stage: Path, *options: str) -> list[str]:
    script = str(stage / "code" / "studies" / "gnn_sweep.py")
    folders = ("--runs-dir", f"{stage}/work/runs", "--data-dir", f"{stage}/work/data")
    return [str(stage / "venv" / "bin" / "python"), script, *folders, *options]


@CONTAINER
@pytest.mark.parametrize("home", [(), ("HOME=/",)], ids=["no home", "home read-only"])
def test_a_study_runs_in_a_container_with_one_writable_folder(
    stage: Path, home: tuple[str, ...]
) -> None:
    """Under a user whom nobody knows; Docker gives one ``HOME=/``, other runtimes none."""
    work = stage / "work"
    done = contained(stage, "env", *home, f"TMPDIR={work}", *study(stage, *SMOKE))
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert done.stderr == ""
    assert (work / "runs" / "gnn-gfn2-mu-smoke" / "report" / "report.html").is_file()
    assert {file.lstat().st_uid for file in work.rglob("*")} == {4242}
    assert list(work.glob("orrery-4242/**/*.nbi")), "kept for the next process"


@CONTAINER
def test_the_folder_that_the_command_is_typed_in_serves_where_no_variable_names_one(
    stage: Path,
) -> None:
    within = ["bash", "-c", f'cd {stage}/work && exec "$@"', "bash"]
    done = contained(stage, *within, *study(stage, *SMOKE, "--dry-run"))
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert "forecast: " in done.stdout


@CONTAINER
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_container_without_any_writable_folder_is_told_which_variable_to_set(
    stage: Path, script: str
) -> None:
    done = contained(stage, f"{stage}/venv/bin/python", f"{stage}/code/{script}", "--help")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: No usable temporary directory found in ")
    assert line.endswith(": name a folder in TMPDIR")


def test_a_trial_gets_no_more_cores_than_the_job_has(tmp_path: Path) -> None:
    """As under ``taskset --cpu-list``, or in a job of a batch system."""
    one = min(os.sched_getaffinity(0))
    folders = ("--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data"))
    script = str(ROOT / "studies" / "gnn_sweep.py")
    done = subprocess.run(
        [sys.executable, script, "--smoke", "--cpus-per-trial", "2", *folders],
        preexec_fn=lambda: os.sched_setaffinity(0, {one}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: --cpus-per-trial 2: expected at most 1, the cores that this process may use\n"
    )


def test_one_core_runs_one_trial_at_a_time(tmp_path: Path) -> None:
    one = min(os.sched_getaffinity(0))
    folders = ("--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data"))
    script = str(ROOT / "studies" / "gnn_sweep.py")
    done = subprocess.run(
        [sys.executable, script, "--smoke", "--dry-run", *folders],
        preexec_fn=lambda: os.sched_setaffinity(0, {one}),
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert ", 1 at a time: " in done.stdout
