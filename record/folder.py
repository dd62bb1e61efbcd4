"""Folder layout of a study, on this disk and in the shared storage of a cluster."""

from dataclasses import dataclass
from pathlib import Path

from datasets.files import AnyPath

STUDIES, DATA = "studies", "data"
"""Folders in the shared storage: one for all studies, one for prepared data."""


@dataclass(frozen=True)
class StudyFolder:
    """The paths of one study.

    Attributes:
        runs_dir: Folder of all studies on this disk.
        name: Name of the study.
        storage: Shared storage of all nodes; None if there is none.
    """

    runs_dir: Path
    name: str
    storage: AnyPath | None = None

    @property
    def path(self) -> Path:
        """Folder of the study on this disk."""
        return self.runs_dir / self.name

    @property
    def log(self) -> Path:
        """File of the study's log on this disk, used without shared storage."""
        return self.path / "log.jsonl"

    @property
    def lock(self) -> Path:
        """File that the process running the study holds locked."""
        return self.path / "lock"

    @property
    def key(self) -> Path:
        """File with a random key that identifies this folder in the lease of the study."""
        return self.path / "driver"

    @property
    def report(self) -> Path:
        """Folder of the report: figures, tables and the page."""
        return self.path / "report"

    @property
    def database(self) -> Path:
        """MLflow's local database, shared by all studies."""
        return self.runs_dir / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """Folder of all studies' MLflow artifacts, if MLflow uses a local database."""
        return self.runs_dir / "artifacts"

    @property
    def store(self) -> AnyPath | None:
        """Folder of the study in the shared storage; None without one."""
        return self.storage / STUDIES / self.name if self.storage is not None else None

    @property
    def store_log(self) -> AnyPath | None:
        """Folder of the log's pieces in the shared storage; None without one."""
        return self.store / "log" if self.store is not None else None

    @property
    def lease(self) -> AnyPath | None:
        """File in the shared storage by which a driver claims the study; None without one."""
        return self.store / "driver" if self.store is not None else None

    @property
    def prepared_data(self) -> AnyPath | None:
        """Folder of prepared data in the shared storage, for all studies; None without one."""
        return self.storage / DATA if self.storage is not None else None

    @property
    def sessions(self) -> AnyPath:
        """Folder of the checkpoints, by session; in the shared storage if there is one."""
        return (self.store or self.path) / "trials"
