"""A study of invented events, on disk and in MLflow, for tests that damage it."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from happened import report, story
from mlflow.entities import Run, ViewType
from played import write_checkpoint
from tracker_contract import FACTS
from upath import UPath

from record import mlflow_store, names
from record.events import Event
from record.folder import StudyFolder
from record.log import FileLog
from record.mlflow_tracker import MLflowTracker
from record.state import fold
from record.tracker import StudyFacts, sync
from record.tracking import connect
from studies import doctor

KEPT = {0: 3, 3: 3}
"""Epochs of the kept checkpoints in `happened.story`, by trial number."""


class Planted:
    """A recorded study with an MLflow database.

    Args:
        folder: The runs folder.
    """

    def __init__(self, folder: Path) -> None:
        self.study = StudyFolder(folder, "s")
        self.database = self.study.database
        mlflow_store.make_database(self.database)
        self.client = connect(f"sqlite:///{self.database}")

    @property
    def experiment(self) -> str:
        known = self.client.get_experiment_by_name("s")
        if known is not None:
            return known.experiment_id
        return self.client.create_experiment("s", self.study.artifacts.as_uri())

    def tracker(self) -> MLflowTracker:
        return MLflowTracker(self.client, self.experiment, "s")

    def record(self) -> None:
        """Writes log, MLflow runs and checkpoints of the study `happened.story`."""
        FileLog(self.study.log).append(story())
        self.show(story())
        for number, epochs in KEPT.items():
            self.save(number, epochs)

    def show(self, events: Sequence[Event], facts: StudyFacts = FACTS) -> None:
        """Writes events to MLflow, as the study's command does."""
        state, tracker = fold(events), self.tracker()
        tracker.begin(facts)
        sync(tracker, state)
        if state.ending is not None:
            tracker.close(state.ending.status, {})

    def save(self, number: int, epochs: int) -> Path:
        """Writes a checkpoint of a trial after a number of epochs; returns its file."""
        folder = Path(str(self.study.sessions)) / f"session-0002/trial-{number:05d}"
        folder /= f"checkpoint_{epochs:06d}"
        rows = [{"epoch": epoch, **report(epoch).metrics} for epoch in range(1, epochs + 1)]
        write_checkpoint(UPath(folder), rows, {})
        return folder / "state.pt"

    def run(self, number: int | None) -> Run:
        """Returns the MLflow run of a trial, or with None that of the study."""
        wanted = None if number is None else str(number)
        runs = self.client.search_runs([self.experiment])
        return next(run for run in runs if run.data.tags.get(names.NUMBER) == wanted)

    def run_id(self, number: int | None) -> str:
        return self.run(number).info.run_id

    def put_away(self) -> list[Run]:
        deleted = self.client.search_runs([self.experiment], "", ViewType.DELETED_ONLY)
        return [run for run in deleted if names.REPLACED in run.data.tags]

    def execute(self, statement: str, *values: object) -> None:
        """Executes an SQL statement on MLflow's database, for changes that its API forbids.

        Raises:
            AssertionError: If the statement changes no row.
        """
        with closing(sqlite3.connect(self.database)) as database, database:
            assert database.execute(statement, values).rowcount > 0

    def forget_epoch(self, number: int, epoch: int) -> None:
        where = "where run_uuid = ? and step = ?"
        self.execute(f"delete from metrics {where}", self.run_id(number), epoch)

    def files(self) -> dict[Path, bytes]:
        """Returns the content of all files in the runs folder, without locks and SQLite's
        journals."""
        return {
            file: file.read_bytes()
            for file in self.study.runs_dir.rglob("*")
            if file.is_file() and not file.name.startswith(("lock", "mlflow.db-", "mlflow.db."))
        }

    def look(self, *arguments: str) -> int:
        """Runs the doctor's command on the study and returns its exit code."""
        return doctor.main(["s", "--runs-dir", str(self.study.runs_dir), *arguments])
