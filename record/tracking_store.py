"""Reads the runs and artifacts of a study from MLflow; artifacts are all that can be written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlflow.entities import Experiment, Metric, Run, ViewType
from mlflow.exceptions import MlflowException

from datasets.addresses import shown
from datasets.errors import InputError
from record import names
from record.mlflow_runs import found, is_replaced, last_epoch, number_of
from record.tracking import (
    by_hand,
    check_answers,
    check_artifacts_of,
    connect,
    experiment_named,
)
from record.tracking_uri import local_database

NO_RUN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's error codes for a run id that does not exist."""

NAMED = 8
"""Maximum number of studies named in the message for a study that does not exist."""


@dataclass(frozen=True)
class StudyRuns:
    """The MLflow runs of a study.

    Attributes:
        parent: The study's own run.
        trials: Trial number -> its run.
        deleted: Numbers of the trials whose run the user deleted.
    """

    parent: Run
    trials: Mapping[int, Run]
    deleted: frozenset[int]


class TrackingStore:
    """Reader of MLflow's tracking store.

    Args:
        uri: MLflow's tracking URI.

    Raises:
        InputError: If the store cannot be read.
    """

    def __init__(self, uri: str) -> None:
        _check_there(uri)
        check_answers(uri)
        self.client = connect(uri)
        self.uri = uri

    def runs(self, study: str) -> StudyRuns:
        """Reads the runs of a study.

        Raises:
            InputError: If there is no such study; the message names existing ones.
        """
        experiment = experiment_named(self.client, study)
        known = self._runs(experiment)
        there = [run for run in known if run.info.lifecycle_stage == "active"]
        parents = [run for run in there if run.data.tags.get(names.KIND) == "study"]
        if not parents:
            raise InputError(self._missing(study, known))
        # After a crash a trial may have two runs; the one with more epochs counts.
        by_epoch = sorted(filter(_is_of_a_trial, there), key=last_epoch)
        trials = {number_of(run): run for run in by_epoch}
        removed = [run for run in known if run.info.lifecycle_stage != "active"]
        by_user = [run for run in removed if _is_of_a_trial(run) and not is_replaced(run)]
        return StudyRuns(parents[0], trials, frozenset(map(number_of, by_user)) - trials.keys())

    def _runs(self, experiment: Experiment | None) -> list[Run]:
        """Returns the runs of an experiment, deleted ones included."""
        if experiment is None:
            return []
        return found(self.client, experiment.experiment_id, "", ViewType.ALL)

    def _missing(self, study: str, known: Iterable[Run]) -> str:
        """Returns the error message that says why a study is missing."""
        for run in known:
            if run.data.tags.get(names.KIND) == "study":
                restore = by_hand(self.client, f"runs restore --run-id {run.info.run_id}")
                return (
                    f"the run of the study {study} was deleted in MLflow: `{restore}` brings it "
                    "back"
                )
        return f"no study {study} in {shown(self.uri)}; there: {self._known()}"

    def _known(self) -> str:
        """Returns the names of the latest studies, as text."""
        experiments = self.client.search_experiments(order_by=["creation_time DESC"])
        called = [experiment.name for experiment in experiments if experiment.name != "Default"]
        more = [f"and {len(called) - NAMED} more"] if len(called) > NAMED else []
        return ", ".join([*called[:NAMED], *more]) or "none"

    def run(self, run_id: str) -> tuple[str, Run]:
        """Returns the name of a run's study, and the run.

        Args:
            run_id: MLflow's id of the run.

        Raises:
            InputError: If there is no such run.
        """
        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in NO_RUN:
                raise
            raise InputError(
                f"no run {run_id} in {shown(self.uri)}: expected MLflow's id of a trial's run, or "
                "NAME/NUMBER, name of the study and number of the trial"
            ) from error
        return self.client.get_experiment(run.info.experiment_id).name, run

    def points(self, run: Run) -> list[Metric]:
        """Fetches all recorded points of all metrics of a run."""
        return [
            point
            for metric in run.data.metrics
            for point in self.client.get_metric_history(run.info.run_id, metric)
        ]

    def fetch(self, run_id: str, artifact: str, folder: Path) -> Path | None:
        """Downloads an artifact of a run into a folder.

        Args:
            run_id: MLflow's id of the run.
            artifact: Path of the artifact.
            folder: Folder on this machine.

        Returns:
            Path of the downloaded file; None if the run has no such artifact.
        """
        check_artifacts_of(self.client, run_id)
        parent = PurePosixPath(artifact).parent
        inside = None if parent == PurePosixPath() else str(parent)
        if artifact not in {there.path for there in self.client.list_artifacts(run_id, inside)}:
            return None
        return Path(self.client.download_artifacts(run_id, artifact, str(folder)))

    def publish(self, run_id: str, files: Iterable[Path], folder: str | None = None) -> None:
        """Uploads files to the artifacts of a run, replacing those of the same name.

        Args:
            run_id: MLflow's id of the run.
            files: Files on this machine.
            folder: Folder among the artifacts; None for the top level.
        """
        check_artifacts_of(self.client, run_id)
        for file in files:
            self.client.log_artifact(run_id, str(file), folder)


def _is_of_a_trial(run: Run) -> bool:
    return run.data.tags.get(names.KIND) in ("trial", "final")


def _check_there(uri: str) -> None:
    """Checks that a local database exists, because MLflow would create an empty one."""
    database = local_database(uri)
    if database is not None and not database.is_file():
        raise InputError(
            f"no studies are recorded in {database.parent}: there is no {database.name}; "
            "expected the --runs-dir of a study"
        )
