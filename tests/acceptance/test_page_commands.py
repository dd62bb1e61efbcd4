"""The commands of the pages that make or read a study: each is executed, on little data.

Their benchmarks are in test_benchmarks.py, their clusters in test_clusters.py.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from pages import (
    ANALYSES,
    DOCTOR,
    DRY_RUNS,
    EXPORTS,
    PAGES,
    REPLAYS,
    STUDIES,
    executed,
)
from places import ROOT, SHARED_DATA

DEFAULT_NAMES = {
    "python studies/gnn_sweep.py": "gnn-gfn2-mu",
    "python studies/world_model_sweep.py --trials 12": "world-model-pursuit",
    "python studies/cartpole_sweep.py": "cartpole",
    "python studies/controller_sweep.py --vision vae pca --trials 4 --finalists 1 --seeds 2": (
        "controller-pursuit"
    ),
}
"""Studies that analyses take up by a name that nobody typed."""


def name_of(command: str) -> str:
    """The name of a study, or one for here."""
    typed = re.search(r"--name (\S+)", command)
    number = STUDIES.index(command)
    return typed[1] if typed else DEFAULT_NAMES.get(command, f"study-{number}")


NAMED = {name_of(command): command for command in STUDIES}


class Studies:
    """Runs each study of the pages once, whichever test wants it first, on little data.

    Args:
        where: The folder to run them in.
    """

    def __init__(self, where: Path) -> None:
        self.where = where
        self.printed: dict[str, str | AssertionError] = {}

    def run(self, command: str) -> str:
        """What a study prints.

        Raises:
            AssertionError: If it fails, or failed before.
        """
        if command not in self.printed:
            try:
                self.printed[command] = self._executed(command)
            except AssertionError as error:
                self.printed[command] = error
        found = self.printed[command]
        if isinstance(found, AssertionError):
            raise found
        return found

    def _executed(self, command: str) -> str:
        if earlier := re.search(r"--from (\S+)", command):
            self.run(NAMED[earlier[1]])
        more = [] if "--name" in command else ["--name", name_of(command)]
        if command in DEFAULT_NAMES:
            more += ["--finalists", "1"]
        return executed(command, self.where, "--smoke", *more)

    def after(self, command: str) -> str:
        """What a command prints once the studies that it names have been run."""
        named = [word.partition("/")[0] for word in shlex.split(command)[2:]]
        for name in filter(NAMED.__contains__, named):
            self.run(NAMED[name])
        return executed(command, self.where)


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def studies(where: Path) -> Studies:
    return Studies(where)


def test_every_command_that_reads_a_study_reads_one_of_the_pages() -> None:
    assert {*DEFAULT_NAMES} <= {*STUDIES}
    for command in (*ANALYSES, *DOCTOR, *REPLAYS, *EXPORTS):
        assert shlex.split(command)[2].partition("/")[0] in NAMED, command


@pytest.mark.parametrize("command", STUDIES)
def test_a_study_command_runs(command: str, studies: Studies) -> None:
    if "../shared" in command and not (SHARED_DATA / "qm9.parquet").is_file():
        pytest.skip("needs ../shared/data/qm9.parquet, which is not part of the project")
    printed = studies.run(command)
    assert "best of" in printed
    assert "figures and tables: runs/" in printed


@pytest.mark.parametrize("command", DRY_RUNS)
def test_a_dry_run_forecasts(command: str, where: Path) -> None:
    printed = executed(command, where, "--smoke", "--name", "dry")
    assert "forecast: " in printed
    assert not (where / "runs" / "dry").exists()


@pytest.mark.parametrize("command", DOCTOR)
def test_the_doctor_finds_a_study_in_order(command: str, studies: Studies) -> None:
    assert "MLflow shows what the log says" in studies.after(command)


@pytest.mark.parametrize("command", REPLAYS)
def test_a_trial_that_is_trained_again_gives_the_same(command: str, studies: Studies) -> None:
    assert "numbers: bit for bit the same" in studies.after(command)


@pytest.mark.parametrize("command", EXPORTS)
def test_a_study_is_written_for_the_tools_of_optuna(
    command: str, studies: Studies, where: Path
) -> None:
    file = shlex.split(command)[-1]
    assert f"; to see them: optuna-dashboard {file}" in studies.after(command)
    assert (where / file).stat().st_size > 0


@pytest.mark.parametrize("command", ANALYSES)
def test_an_analysis_command_runs(command: str, studies: Studies) -> None:
    assert ("| CCO " if "predict.py" in command else "runs/") in studies.after(command)


def test_make_ui_shows_mlflow_on_the_address_that_the_pages_name(where: Path) -> None:
    recipe = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "--old-file=.venv/.complete", "ui"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]
    command = recipe.replace(".venv/bin", str(Path(sys.executable).parent))
    address = "http://127.0.0.1:5000"
    assert all(address in PAGES[page] for page in ("README.md", "docs/reports.md"))
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
