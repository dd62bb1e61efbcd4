"""MLflow's tracking URIs, without MLflow itself, whose import takes a second."""

import os
from pathlib import Path

import sqlalchemy

from datasets.errors import InputError


def tracking_uri(runs: Path) -> str:
    """Returns MLflow's tracking URI: ``MLFLOW_TRACKING_URI``, else an SQLite database in the runs
    folder."""
    local = f"sqlite:///{runs.resolve() / 'mlflow.db'}"
    return os.environ.get("MLFLOW_TRACKING_URI") or local


def is_server(uri: str) -> bool:
    """Returns True if a tracking URI is that of an MLflow server."""
    return uri.lower().startswith(("http:", "https:"))


def local_database(uri: str) -> Path | None:
    """Returns the file of a local SQLite database; None for any other tracking store.

    Raises:
        InputError: If MLflow and SQLAlchemy would read different folders from the URI.
    """
    if not uri.startswith("sqlite:///"):
        return None
    written = Path(uri.removeprefix("sqlite:///"))
    meant = Path(sqlalchemy.make_url(uri).database or "")
    # MLflow creates the folder from the URI as written, SQLAlchemy the file from the parsed URI.
    if written.parent != meant.parent:
        raise InputError(
            f"{written.parent}: MLflow's database cannot lie in a folder with a '?', or a '%' "
            "before two digits, in its name: choose another --runs-dir"
        )
    return meant
