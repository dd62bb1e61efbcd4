"""A study of molecules and one of drives, tiny but whole: search, finals, analyses, registration.

They are trained once a test run; tests that write work on copies.
"""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import filelock
import pytest
from moving_stripes import stripes

from datasets.recordings import write_recordings
from record.folder import StudyFolder
from record.reading import recorded_study
from record.recorded_study import RecordedStudy
from studies import gnn_sweep, world_model_sweep
from studies.study import Study, main

MOLECULES = "molecules"
DRIVES = "drives"

FRAMES = 45
"""Of each of the drives."""

LITTLE = ("--molecules", "120", "--width", "16", "--epochs", "2")
"""What makes a study of molecules take seconds."""

ASKED: dict[str, tuple[Study[Any], tuple[str, ...]]] = {
    MOLECULES: (
        gnn_sweep.STUDY,
        (
            *(*LITTLE, "--family", "gcn", "sage", "--sampler", "random", "--trials", "4"),
            *("--finalists", "2", "--seeds", "3"),
        ),
    ),
    DRIVES: (
        world_model_sweep.STUDY,
        (
            *("--epochs", "2", "--hidden", "16", "--sequence-length", "10", "--batch-size", "8"),
            *("--trials", "4", "--sampler", "random", "--finalists", "1", "--seeds", "2"),
        ),
    ),
}
"""Name of a study -> what is asked, and how."""

PATHS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
"""Table of MLflow's database -> columns that hold absolute paths of artifacts."""


def recordings(runs: Path) -> Path:
    """Twenty drives, which lie beside the runs that learned from them."""
    return runs.parent / "drives.arrow"


def command(name: str, runs: Path, cache: Path) -> list[str]:
    """The arguments of a study in a runs folder; those of the copy go on with the study."""
    data = ("--recordings", str(recordings(runs))) if name == DRIVES else ()
    where = ("--runs-dir", str(runs), "--data-dir", str(cache), "--name", name)
    return ["--local", *ASKED[name][1], *data, *where]


def train_once(folder: Path, cache: Path) -> Path:
    """Trains both, unless another process of the test run has; returns the runs folder."""
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
    """The address of the tracking store of a runs folder."""
    return f"sqlite:///{runs / 'mlflow.db'}"


def known(runs: Path, name: str = MOLECULES) -> RecordedStudy:
    """What is known of a study in a runs folder, by its log."""
    return recorded_study(StudyFolder(runs, name), tracking(runs))


def copy(runs: Path, to: Path) -> Path:
    """Copies runs and recordings; returns the copy of the runs."""
    copied_runs(runs, to)
    shutil.copy(recordings(runs), recordings(to))
    return to


def copied_runs(runs: Path, to: Path) -> Path:
    """Copies a runs folder, and leads MLflow's paths to the copy, which it returns."""
    shutil.copytree(runs, to)
    with sqlite3.connect(to / "mlflow.db") as database:
        for table, columns in PATHS.items():
            for column in columns:
                database.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(runs), str(to))
                )
    database.close()
    return to
