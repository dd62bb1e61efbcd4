"""Reads and writes the artifacts of one study's MLflow runs.

The connection to MLflow is made on first use, and the study's runs are queried once.
"""

import tempfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.addresses import shown
from datasets.errors import InputError
from record import names
from record.outcomes import FILE, Outcomes, read_outcomes
from record.own_commands import own_command
from record.trial import Trial

if TYPE_CHECKING:
    from record.tracking_store import StudyRuns, TrackingStore


class Artifacts:
    """The MLflow artifacts of a study and of its trials.

    Args:
        uri: MLflow's tracking URI.
        study: Name of the study.
        identity: Unique id of the study; None to accept any study of this name.
    """

    def __init__(self, uri: str, study: str, identity: str | None = None) -> None:
        self.uri = uri
        self.study = study
        self.identity = identity
        self.known: dict[int, Outcomes | None] = {}

    @cached_property
    def store(self) -> "TrackingStore":
        """MLflow's tracking store.

        Raises:
            InputError: If the store cannot be read.
        """
        from record.tracking_store import TrackingStore  # imports MLflow, which takes a second

        return TrackingStore(self.uri)

    @cached_property
    def runs(self) -> "StudyRuns":
        """MLflow runs of the study and its trials.

        Raises:
            InputError: If MLflow cannot be read, does not know the study, or has another study of
                the same name.
        """
        runs = self.store.runs(self.study)
        known = runs.parent.data.tags.get(names.IDENTITY)
        if self.identity not in (None, known):
            raise InputError(
                f"{shown(self.uri)} shows another study of the name {self.study} than the one on "
                "this machine: give the --runs-dir or the MLFLOW_TRACKING_URI that belongs to it"
            )
        return runs

    def run_id(self, trial: Trial | None) -> str:
        """Returns the id of an MLflow run.

        Args:
            trial: A trial of the study; None for the study's own run.

        Raises:
            InputError: If the trial has no run, or `runs` cannot be read.
        """
        if trial is None:
            return self.runs.parent.info.run_id
        if trial.number not in self.runs.trials:
            raise InputError(
                f"trial {trial.number} of {self.study} has no run in MLflow: "
                f"`{own_command('studies.doctor')} {self.study} --repair` records it there"
            )
        return self.runs.trials[trial.number].info.run_id

    def fetch(self, trial: Trial | None, artifact: str, folder: Path) -> Path | None:
        """Downloads an artifact of a run into a folder; see `TrackingStore.fetch`."""
        return self.store.fetch(self.run_id(trial), artifact, folder)

    def outcomes(self, trial: Trial) -> Outcomes | None:
        """Returns a trial's outcomes on the test split; None if it was not scored.

        Raises:
            InputError: If the file of the outcomes is damaged, or the trial has no run.
        """
        if trial.number not in self.known:
            with tempfile.TemporaryDirectory() as scratch:
                file = self.fetch(trial, FILE, Path(scratch))
                whose = f"trial {trial.number} of {self.study}"
                self.known[trial.number] = None if file is None else read_outcomes(file, whose)
        return self.known[trial.number]

    def keep_outcomes(self, trial: Trial, found: Outcomes) -> None:
        """Stores a trial's outcomes on the test split as an artifact of its run."""
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / FILE
            found.write(file)
            self.publish(trial, [file])
        self.known[trial.number] = found

    def publish(
        self, trial: Trial | None, files: Iterable[Path], folder: str | None = None
    ) -> None:
        """Uploads files as artifacts of a run; see `TrackingStore.publish`."""
        self.store.publish(self.run_id(trial), files, folder)
