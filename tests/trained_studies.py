"""Two tiny but complete studies, of molecules and of drives, with search, finals and analyses.

They are trained once in a test run; tests that change them work on copies.
"""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import filelock
import pytest
from moving_stripes import stripes

from datasets.recordings import write_recordings
from engine.main import main
from engine.study import Study
from record.folder import StudyFolder
from record.reading import recorded_study
from record.recorded_study import RecordedStudy
from studies import gnn_sweep, world_model_sweep

MOLECULES = "molecules"
DRIVES = "drives"

FRAMES = 45
"""Number of frames in each of the drives."""

LITTLE = ("--molecules", "120", "--width", "16", "--epochs", "2")
"""Arguments with which a study of molecules takes seconds."""

ASKED: dict[str, tuple[Study[Any], tuple[str, ...]]] = {
    MOLECULES: (
        gnn_sweep.STUDY,
        (
            *(*LITTLE, "--family", "gcn", "sage", "--sampler", "random", "--trials", "4"),
            *("--finalists", "2", "--seeds", "3", "--finals", "all"),
        ),
    ),
    DRIVES: (
        world_model_sweep.STUDY,
        (
            *("--epochs", "2", "--hidden", "16", "--sequence-length", "10", "--batch-size", "8"),
            *("--trials", "6", "--sampler", "random", "--finalists", "1", "--seeds", "2"),
        ),
    ),
}
"""Each study and its command-line arguments, by name."""

PATHS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
"""Columns of MLflow's database that contain absolute paths of artifacts, by table."""


def recordings(runs: Path) -> Path:
    """Returns the path of the file of twenty drives, which is next to the runs folder."""
    return runs.parent / "drives.arrow"


def command(name: str, runs: Path, cache: Path) -> list[str]:
    """Returns the arguments with which a study runs in a runs folder; with a copied runs folder
    they continue the copied study."""
    data = ("--recordings", str(recordings(runs))) if name == DRIVES else ()
    where = ("--runs-dir", str(runs), "--data-dir", str(cache), "--name", name)
    return ["--local", *ASKED[name][1], *data, *where]


def train_once(folder: Path, cache: Path) -> Path:
    """Trains both studies unless another process of the test run has; returns the runs folder."""
    runs, done = folder / "runs", folder / "done"
    folder.mkdir(exist_ok=True)
    with filelock.FileLock(folder / "lock"), pytest.MonkeyPatch.context() as patch:
        if not done.is_file():
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            write_recordings(stripes(20, FRAMES), recordings(runs))
            for name, (study, _) in ASKED.items():
                assert main(study, command(name, runs, cache)) == 0
            done.touch()
    return runs


def tracking(runs: Path) -> str:
    """Returns MLflow's tracking URI of a runs folder."""
    return f"sqlite:///{runs / 'mlflow.db'}"


def known(runs: Path, name: str = MOLECULES) -> RecordedStudy:
    """Reads a study from its log and the MLflow database of a runs folder."""
    return recorded_study(StudyFolder(runs, name), tracking(runs))


def copy(runs: Path, to: Path) -> Path:
    """Copies a runs folder and its recordings; returns the copied runs folder."""
    copied_runs(runs, to)
    shutil.copy(recordings(runs), recordings(to))
    return to


def copied_runs(runs: Path, to: Path) -> Path:
    """Copies a runs folder and changes the paths in its MLflow database to the copy, which is
    returned."""
    shutil.copytree(runs, to)
    with sqlite3.connect(to / "mlflow.db") as database:
        for table, columns in PATHS.items():
            for column in columns:
                database.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(runs), str(to))
                )
    database.close()
    return to
