"""Opens the place where MLflow shows a study; a new one is made whole, or not at all."""

import shutil
from pathlib import Path

import filelock
from mlflow import MlflowClient
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
)

from datasets.errors import InputError
from record.mlflow_tracker import MLflowTracker, not_recorded
from record.tracking import check_artifacts, connect, experiment_named, local_database

ANSWER = 15
"""Seconds that a server may take for one answer."""


def open_tracker(uri: str, study: str, artifacts: Path) -> MLflowTracker:
    """Opens a study in MLflow, or makes room for a new one.

    Args:
        uri: MLflow's tracking URI.
        study: Name of the study, and of its experiment.
        artifacts: Folder for artifacts, used where the tracking store is a local database.

    Raises:
        InputError: If the tracking store cannot be used.
        NotRecorded: If it does not answer.
    """
    # The study does not wait for MLflow, and who does has its own patience.
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(1)
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(ANSWER)
    database = local_database(uri)
    if database is not None:
        make_database(database)
    client = connect(uri)
    location = artifacts.resolve().as_uri() if uri.startswith("sqlite") else None
    with not_recorded():
        experiment = _experiment(client, study, location)
    return MLflowTracker(client, experiment, study)


def _experiment(client: MlflowClient, study: str, location: str | None) -> str:
    known = experiment_named(client, study)
    if known is not None:
        more = "; and choose another --name, since this experiment keeps its place"
        check_artifacts(client, known.artifact_location, more)
        return known.experiment_id
    made = client.create_experiment(study, artifact_location=location)
    try:
        check_artifacts(client, client.get_experiment(made).artifact_location)
    except InputError:
        # Where artifacts go is decided once: the name has to be free for a better one.
        client.rename_experiment(made, f"{study} refused {made}")
        client.delete_experiment(made)
        raise
    return made


def make_database(file: Path) -> None:
    """Makes a local database, whole or not at all; MLflow itself cannot go on with half of one."""
    with filelock.FileLock(f"{file}.lock"):
        if file.is_file():
            return
        partial = file.with_name(f"{file.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            connect(f"sqlite:///{partial / file.name}")
            (partial / file.name).rename(file)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
