"""Every command of the README is executed, and what it says of options and files is true."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import fields
from pathlib import Path

import pytest

from studies.options import Options

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
DOCTOR = [command for command in COMMANDS if command.startswith("python studies/doctor.py")]
REPLAYS = [command for command in COMMANDS if command.startswith("python studies/replay.py")]
DRY_RUNS = [command for command in COMMANDS if "--dry-run" in command]
STUDIES = [
    command
    for command in COMMANDS
    if command.startswith("python studies/") and command not in (*DOCTOR, *REPLAYS, *DRY_RUNS)
]
ANALYSES = [command for command in COMMANDS if command.startswith("python analysis/")]
BENCHMARKS = [command for command in COMMANDS if command.startswith("python benchmarks/")]
NAMED = {
    "python studies/gnn_sweep.py": "gnn-gfn2-mu",
    "python studies/world_model_sweep.py --trials 12": "world-model-pursuit",
}
"""Studies whose default name the README's analyses take up."""

LITTLE = {
    "benchmarks/recording_cost.py": ("--trials", "2", "--epochs", "2", "--rounds", "1"),
    "benchmarks/batching.py": ("--molecules", "120", "--rounds", "1"),
    "benchmarks/training_step.py": ("--molecules", "120", "--rounds", "1", "--config", "gin"),
    "benchmarks/driving_step.py": ("--episodes", "20", "--steps", "20", "--rounds", "1"),
}
"""What makes a benchmark short."""

ELSEWHERE = {
    "benchmarks/plain_study.py": "test_benchmarks_plain_study.py",
    "benchmarks/chaos.py": "test_benchmarks_chaos.py",
    "benchmarks/large_study.py": "test_benchmarks_chaos.py",
    "benchmarks/scale.py": "test_benchmarks_scale.py",
}
"""Benchmarks that a test of their own runs."""

MAKE = [command for command in COMMANDS if command.startswith("make ")]
CLUSTER = [command for command in COMMANDS if command.startswith("ray ")]


def executed(command: str, where: Path, *more: str) -> str:
    """Runs a README command in another folder, with more arguments; returns what it printed."""
    _, script, *arguments = shlex.split(command)
    arguments = [str(ROOT / a) if a.startswith("../") else a for a in arguments]
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments, *more],
        cwd=where,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def test_every_command_is_of_a_kind_that_is_executed() -> None:
    kinds = [*STUDIES, *DRY_RUNS, *DOCTOR, *REPLAYS, *ANALYSES, *BENCHMARKS, *MAKE, *CLUSTER]
    assert sorted(COMMANDS) == sorted(kinds)
    assert {command.split()[-1] for command in DOCTOR} <= {*NAMED.values()}
    assert STUDIES
    assert {command.split()[2] for command in ANALYSES} == {*NAMED.values()}
    assert BENCHMARKS


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("command", STUDIES)
def test_a_study_command_runs(command: str, where: Path) -> None:
    """On little data, under the names that the README's analyses take up."""
    if "../shared" in command and not (ROOT / "../shared/data/qm9.parquet").is_file():
        pytest.skip("needs ../shared/data/qm9.parquet, which is not part of the project")
    more = ["--name", f"study-{STUDIES.index(command)}"] if "--name" not in command else []
    if command in NAMED:
        more = ["--name", NAMED[command], "--finalists", "1"]
    printed = executed(command, where, "--smoke", *more)
    assert "best of" in printed
    assert "figures and tables: runs/" in printed


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("command", DRY_RUNS)
def test_a_dry_run_forecasts(command: str, where: Path) -> None:
    printed = executed(command, where, "--smoke", "--name", "dry")
    assert "forecast: " in printed
    assert not (where / "runs" / "dry").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", DOCTOR)
def test_the_doctor_finds_a_study_in_order(command: str, where: Path) -> None:
    if not (where / "runs" / command.split()[-1]).is_dir():
        pytest.skip("examines the study of test_a_study_command_runs, which did not run")
    assert "the three agree" in executed(command, where)


@pytest.mark.slow
@pytest.mark.parametrize("command", REPLAYS)
def test_a_trial_that_is_trained_again_gives_the_same(command: str, where: Path) -> None:
    if not (where / "runs" / command.split()[-1].split("/")[0]).is_dir():
        pytest.skip("trains a trial of test_a_study_command_runs, which did not run")
    assert "numbers: bit for bit the same" in executed(command, where)


@pytest.mark.slow
@pytest.mark.parametrize("command", ANALYSES)
def test_an_analysis_command_runs(command: str, where: Path) -> None:
    if not (where / "runs" / command.split()[2]).is_dir():
        pytest.skip("analyses the study of test_a_study_command_runs, which did not run")
    printed = executed(command, where)
    assert ("| CCO " if "predict.py" in command else "runs/") in printed


@pytest.mark.slow
@pytest.mark.parametrize("command", BENCHMARKS)
def test_a_benchmark_command_runs(command: str, where: Path) -> None:
    script = command.split()[1]
    if script in ELSEWHERE:
        assert Path(script).name in (ROOT / "tests" / ELSEWHERE[script]).read_text()
    else:
        assert "ratio" in executed(command, where, *LITTLE[script])


@pytest.mark.parametrize("command", CLUSTER)
def test_a_cluster_command_is_run_by_make_cluster_test(command: str) -> None:
    verb, file, *script = command.split()[1:]
    files = (ROOT / "tests" / "cluster").glob("*.py")
    run = "\n".join(each.read_text() for each in files)
    assert f'f"ray {verb} ' in run
    assert f'ROOT / "{file}"' in run
    assert all(f'"{each}"' in run for each in script)


@pytest.mark.parametrize("command", MAKE)
def test_a_make_command_is_run_by_ci_or_here(command: str) -> None:
    here = "make ui"
    assert command == here or command in (ROOT / ".ci" / "run").read_text().splitlines()


@pytest.mark.slow
def test_make_ui_shows_mlflow_on_the_address_that_the_readme_names(where: Path) -> None:
    recipe = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "--old-file=.venv/.complete", "ui"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]
    command = recipe.replace(".venv/bin", str(Path(sys.executable).parent))
    address = "http://127.0.0.1:5000"
    assert address in README
    (where / "runs").mkdir(exist_ok=True)
    server = subprocess.Popen(shlex.split(command), cwd=where, start_new_session=True)
    try:
        assert answer(f"{address}/health") == "OK"
        assert "MLflow" in answer(address)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def answer(address: str) -> str:
    """What a server that is starting answers, which takes long where much runs beside it."""
    deadline = time.monotonic() + 240
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as page:
                return page.read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_the_table_of_options_names_every_option_with_its_default() -> None:
    rows = re.findall(r"^\| (`--.*?) \|(.*)\|(.*)\|$", README, re.MULTILINE)
    named = {
        flag: default for flags, _, default in rows for flag in re.findall(r"`(--\S+)`", flags)
    }
    for field in fields(Options):
        flag = f"--{field.name.replace('_', '-')}"
        assert flag in named, f"{flag} is not in the README"
        if isinstance(field.default, (int, str, Path)) and not isinstance(field.default, bool):
            assert str(field.default) in named[flag]


def test_every_picture_and_file_that_the_readme_names_is_there() -> None:
    linked = re.findall(r"\]\((?!https?:|#)(.+?)\)", README)
    assert {"docs/images/report.png", "docs/report/report.md"} <= {*linked}
    files = re.findall(r"`((?:datasets|trainables|studies|analysis)/\S+\.py)`", README)
    assert files
    assert [path for path in (*linked, *files) if not (ROOT / path).is_file()] == []
