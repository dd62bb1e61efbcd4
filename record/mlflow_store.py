"""Opens or creates the MLflow experiment of a study."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
from mlflow import MlflowClient
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
)
from sqlalchemy import Engine, event

from datasets.errors import InputError
from datasets.files import put_in_place
from record.mlflow_tracker import MLflowTracker, not_recorded
from record.tracking import check_artifacts, connect, experiment_named
from record.tracking_uri import local_database

ANSWER = 15
"""Timeout in seconds of one request to the tracking server."""


def open_tracker(uri: str, study: str, artifacts: Path) -> MLflowTracker:
    """Opens the MLflow experiment of a study, or creates it.

    Args:
        uri: MLflow's tracking URI.
        study: Name of the study, and of its experiment.
        artifacts: Folder for artifacts, used if the tracking store is a local database.

    Raises:
        InputError: If the tracking store cannot be used.
        NotRecorded: If the tracking store does not answer.
    """
    # MLflow must not retry for long: the callers have their own retries.
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
        # An experiment's artifact location is permanent, so its name is freed for a new one.
        client.rename_experiment(made, f"{study} refused {made}")
        client.delete_experiment(made)
        raise
    return made


def make_database(file: Path) -> None:
    """Creates MLflow's local database atomically, unless the file exists.

    MLflow runs the migrations of all its versions, and cannot continue from a partially created
    database. So the database is made beside its place, and flushed to the disk once, at the end.
    """
    with filelock.FileLock(f"{file}.lock"):
        if file.is_file():
            return
        partial = file.with_name(f"{file.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            with _unflushed():
                connect(f"sqlite:///{partial / file.name}")
            put_in_place(partial / file.name, file)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _unflushed() -> Iterator[None]:
    """Makes SQLite leave writes to the operating system, on connections made in the context."""

    def relax(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)
