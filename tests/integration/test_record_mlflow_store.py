"""MLflow's local database, made beside its place and flushed once."""

import re
import sqlite3
from pathlib import Path

import mlflow
import pytest
import sqlalchemy

from record import mlflow_store
from record.mlflow_store import make_database


def _dump(file: Path) -> list[str]:
    """Returns the lines of a database's schema and rows, sorted and without moments.

    MLflow's migrations leave the order of constraints and indexes to chance.
    """
    with sqlite3.connect(file) as database:
        lines = [line for each in database.iterdump() for line in each.splitlines()]
    return sorted(re.sub(r"\b1\d{12}\b", "MOMENT", line.strip("\t ,")) for line in lines)


def _synchronous(uri: str) -> int:
    engine = sqlalchemy.create_engine(uri)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    engine.dispose()
    return found


def test_a_new_database_is_what_mlflow_itself_makes(tmp_path: Path) -> None:
    mlflow.MlflowClient(f"sqlite:///{tmp_path}/its_own.db")
    make_database(tmp_path / "mlflow.db")
    ours = _dump(tmp_path / "mlflow.db")
    assert ours == _dump(tmp_path / "its_own.db")
    assert len(ours) > 500


def test_only_a_new_database_is_not_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(mlflow_store, "connect", lambda uri: seen.append(_synchronous(uri)))
    make_database(tmp_path / "mlflow.db")
    assert [*seen, _synchronous(f"sqlite:///{tmp_path / 'mlflow.db'}")] == [0, 2]
