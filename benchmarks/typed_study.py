"""A small GNN study that is typed at a command line, and typed again until it ends well."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

from engine.checkpoints import as_upath
from engine.place import log_of
from engine.search_memory import STARTUP
from record.events import Event
from record.folder import StudyFolder

SCRIPTS = Path(__file__).resolve().parent.parent / "studies"
NAME = "chaos"
TRIALS = STARTUP
"""Number of trials; so many are drawn at random, whatever has ended before."""

EPOCHS = 40

STUDY = [
    *("--molecules", "300", "--epochs", str(EPOCHS), "--width", "32", "--depth", "3"),
    *("--trials", str(TRIALS), "--finalists", "0", "--name", NAME),
]

ATTEMPTS = 4
"""Times that the same command is typed at most."""

PATIENCE = 600.0
"""Seconds that it may take each time."""


class TypedStudy:
    """The study, with everything in a folder but the molecules, which all share that lie beside.

    Args:
        folder: The folder.
        scheduler: Whether unpromising trials are stopped early.
        server: Address of MLflow's server; None: its database lies in the runs folder.
        is_shared: Whether log and checkpoints lie in a storage that other machines see.

    Attributes:
        starts: Times that the command was typed.
        seen: The events that were in the log when the study was disturbed.
    """

    def __init__(
        self, folder: Path, scheduler: str, server: str | None = None, is_shared: bool = False
    ) -> None:
        self.folder = folder
        self.scheduler = scheduler
        self.server = server
        storage = as_upath(str(folder / "shared")) if is_shared else None
        self.paths = StudyFolder(folder / "runs", NAME, storage)
        self.starts = 0
        self.seen: Sequence[Event] = ()

    @property
    def uri(self) -> str:
        """MLflow's tracking URI."""
        return self.server or f"sqlite:///{self.paths.database}"

    @property
    def where(self) -> list[str]:
        """The options that say where its records are."""
        shared = self.paths.storage
        storage = [] if shared is None else ["--storage", str(shared)]
        return ["--runs-dir", str(self.paths.runs_dir), *storage]

    @property
    def beside(self) -> Path:
        """The file with what the second window shows."""
        return self.folder / "beside.txt"

    def start(self) -> "Popen[bytes]":
        """Types the command; what it prints goes into a file."""
        self.starts += 1
        return self._typed(self.folder / "printed.txt")

    def start_beside(self) -> "Popen[bytes]":
        """Types the command in a second window."""
        return self._typed(self.beside)

    def _typed(self, printed: Path) -> "Popen[bytes]":
        """Types the command; a file takes what it prints."""
        data = ["--data-dir", str(self.folder.parent / "data")]
        command = [*STUDY, "--scheduler", self.scheduler, *self.where, *data]
        self.folder.mkdir(exist_ok=True)
        with printed.open("ab") as file:
            return Popen(
                [sys.executable, str(SCRIPTS / "gnn_sweep.py"), *command],
                env=self._environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def _environment(self) -> dict[str, str]:
        """The variables of a process that is to find the study's MLflow."""
        others = {key: os.environ[key] for key in os.environ if key != "MLFLOW_TRACKING_URI"}
        return {**others, **({"MLFLOW_TRACKING_URI": self.server} if self.server else {})}

    def end_well(self, process: "Popen[bytes]") -> str:
        """Types the command again until it ends well; returns what is wrong if it never does."""
        while process.wait(PATIENCE) != 0:
            if self.starts == ATTEMPTS:
                return f"it ends with {process.returncode}"
            process = self.start()
        return ""

    def look(self) -> None:
        """Remembers what is in the log at this moment."""
        self.seen = self.events()

    def events(self) -> list[Event]:
        """Reads the events in the study's log."""
        return list(log_of(self.paths).read())

    def doctor(self) -> str:
        """Asks the project's own doctor what is wrong; empty, if nothing is."""
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / "doctor.py"), NAME, *self.where],
            env={**self._environment(), "MLFLOW_TRACKING_URI": self.uri},
            capture_output=True,
            text=True,
        )
        return "" if done.returncode == 0 else f"doctor: {done.stdout}{done.stderr}"


def ends_within(process: "Popen[bytes]", seconds: float) -> bool:
    """Waits so long, or until a process has ended; returns whether it has."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.poll() is not None
