"""Where everything of a study lies: on this disk, and in the storage that all nodes share."""

from dataclasses import dataclass
from pathlib import Path

from datasets.files import AnyPath

STUDIES, DATA = "studies", "data"
"""Folders of the shared storage: all studies, and prepared data."""


@dataclass(frozen=True)
class StudyFolder:
    """The paths of one study.

    Attributes:
        runs_dir: Of all studies, on this disk.
        name: The study's.
        storage: The one that all nodes share; None: there is none.
    """

    runs_dir: Path
    name: str
    storage: AnyPath | None = None

    @property
    def path(self) -> Path:
        """The study's own folder on this disk."""
        return self.runs_dir / self.name

    @property
    def log(self) -> Path:
        """The log's file on this disk."""
        return self.path / "log.jsonl"

    @property
    def lock(self) -> Path:
        """The file that the process that runs the study has locked."""
        return self.path / "lock"

    @property
    def key(self) -> Path:
        """The file that tells this folder from all others, for other drivers."""
        return self.path / "driver"

    @property
    def report(self) -> Path:
        """Figures, tables and the page."""
        return self.path / "report"

    @property
    def database(self) -> Path:
        """MLflow's, of all studies."""
        return self.runs_dir / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts of all studies, where its store is a local database."""
        return self.runs_dir / "artifacts"

    @property
    def store(self) -> AnyPath | None:
        """The study's folder in the shared storage."""
        return self.storage / STUDIES / self.name if self.storage is not None else None

    @property
    def store_log(self) -> AnyPath | None:
        """The folder of the log's pieces in the shared storage."""
        return self.store / "log" if self.store is not None else None

    @property
    def lease(self) -> AnyPath | None:
        """The file in the shared storage by which a driver says that it runs the study."""
        return self.store / "driver" if self.store is not None else None

    @property
    def prepared_data(self) -> AnyPath | None:
        """Prepared data of all studies in the shared storage."""
        return self.storage / DATA if self.storage is not None else None

    @property
    def sessions(self) -> AnyPath:
        """The checkpoints, by session: where all nodes see them."""
        return (self.store or self.path) / "trials"
