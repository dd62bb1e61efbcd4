"""The files that are kept with the runs of one study in MLflow.

MLflow is connected to when it is first needed, and asked once for the study's runs.
"""

import tempfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from datasets.addresses import shown
from datasets.errors import InputError
from record import names
from record.outcomes import FILE, Outcomes, read_outcomes
from record.tracking_store import StudyRuns, TrackingStore
from record.trial import Trial


class Artifacts:
    """What MLflow keeps of a study and of its trials.

    Args:
        uri: MLflow's tracking URI.
        study: Name of the study.
        identity: Tells it from another one of the same name; None: any of the name is meant.
    """

    def __init__(self, uri: str, study: str, identity: str | None = None) -> None:
        self.uri = uri
        self.study = study
        self.identity = identity
        self.known: dict[int, Outcomes | None] = {}

    @cached_property
    def store(self) -> TrackingStore:
        """MLflow's.

        Raises:
            InputError: If it cannot be read.
        """
        return TrackingStore(self.uri)

    @cached_property
    def runs(self) -> StudyRuns:
        """The runs of the study.

        Raises:
            InputError: If MLflow cannot be read, or does not know the study.
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
        """MLflow's id of a run.

        Args:
            trial: A trial of the study; None: the study itself is meant.

        Raises:
            InputError: If the trial has no run, or see `runs`.
        """
        if trial is None:
            return self.runs.parent.info.run_id
        if trial.number not in self.runs.trials:
            raise InputError(
                f"trial {trial.number} of {self.study} has no run in MLflow: "
                f"`python studies/doctor.py {self.study} --repair` records it there"
            )
        return self.runs.trials[trial.number].info.run_id

    def fetch(self, trial: Trial | None, artifact: str, folder: Path) -> Path | None:
        """Copies a file that is kept with a run into a folder; see `TrackingStore.fetch`."""
        return self.store.fetch(self.run_id(trial), artifact, folder)

    def outcomes(self, trial: Trial) -> Outcomes | None:
        """What a trial came to on the test split; None where it was not scored.

        Raises:
            InputError: If the file that says so is damaged.
        """
        if trial.number not in self.known:
            with tempfile.TemporaryDirectory() as scratch:
                file = self.fetch(trial, FILE, Path(scratch))
                whose = f"trial {trial.number} of {self.study}"
                self.known[trial.number] = None if file is None else read_outcomes(file, whose)
        return self.known[trial.number]

    def keep_outcomes(self, trial: Trial, found: Outcomes) -> None:
        """Puts what a trial came to on the test split among the artifacts of its run."""
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / FILE
            found.write(file)
            self.publish(trial, [file])
        self.known[trial.number] = found

    def publish(
        self, trial: Trial | None, files: Iterable[Path], folder: str | None = None
    ) -> None:
        """Keeps files with a run; see `TrackingStore.publish`."""
        self.store.publish(self.run_id(trial), files, folder)
