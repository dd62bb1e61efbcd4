"""MLflow's tracking server, which can be killed and come back."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START = 120.0
"""Seconds until the server has to answer."""


class Server:
    """A tracking server of one's own.

    Args:
        folder: For its database and its artifacts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.database = f"sqlite:///{folder / 'server.db'}"

    def begin(self) -> None:
        """Starts the server, and waits until it answers.

        Raises:
            TimeoutError: If it does not.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--port", str(self.port)),
                    *("--backend-store-uri", self.database),
                    *("--artifacts-destination", str(self.folder / "artifacts")),
                    *("--workers", "1"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START
        while not self._answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no tracking server at {self.uri}")
            time.sleep(0.5)

    def _answers(self) -> bool:
        """Tells whether the server answers."""
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """Kills the server without warning, children and all."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A tracking server while it is needed."""
    made = Server(folder)
    made.begin()
    try:
        yield made
    finally:
        made.kill()
