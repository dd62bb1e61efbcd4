"""Starts an MLflow server on a cluster's head node, reachable from that node only.

    python -m engine.tracking_server --storage s3://BUCKET/orrery --runs-dir ~/runs

The database is in the runs folder and the artifacts are in the shared storage, to which the
database is copied every few minutes. A head node with a new disk starts from that copy, and each
study then writes what is missing from its log. The command returns once the server answers; if one
answers already, it does nothing.
"""

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from upath import UPath

from datasets.addresses import shown
from datasets.errors import InputError, described
from datasets.files import away_is_an_oserror, write_whole
from datasets.terminal import replace_what_cannot_be_shown
from datasets.typed_paths import typed_address, typed_path
from engine.storage import open_storage
from record.mlflow_store import make_database
from record.tracking import check_answers

DATABASE = "mlflow.db"
ARTIFACTS = "mlflow"

FIRST_COPY, BETWEEN_COPIES = 30.0, 300.0
"""Seconds before the first copy of the database, and between later copies."""

START = 120.0
"""Timeout in seconds for the server to answer."""


def main(argv: Sequence[str] | None = None) -> int:
    """Starts the server from the command line.

    Args:
        argv: Command-line arguments; None for those of this process.

    Returns:
        0 once the server answers, 2 if it cannot be started. With ``--foreground``, the exit code
        of the server once it has ended.
    """
    replace_what_cannot_be_shown()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    shared, runs = (os.environ.get(f"ORRERY_{name}") for name in ("STORAGE", "RUNS_DIR"))
    storage = {"default": shared or None, "required": not shared}
    parser.add_argument("--storage", type=typed_address, metavar="URI", **storage)
    parser.add_argument("--runs-dir", type=typed_path, default=runs or "runs", metavar="PATH")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--foreground", action="store_true", help="serve here, until killed")
    typed = parser.parse_args(argv)
    try:
        if typed.foreground:
            return serve(open_storage(typed.storage), typed.runs_dir, typed.port)
        return start(typed.storage, typed.runs_dir, typed.port)
    except InputError as error:
        print(f"error: {shown(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {described(error)}", file=sys.stderr)
        return 2


def answers(port: int) -> bool:
    """Returns True if an MLflow server answers on this port of the local machine."""
    try:
        check_answers(f"http://127.0.0.1:{port}")
    except InputError:
        return False
    return True


def start(storage: str, runs: Path, port: int) -> int:
    """Starts the server in a process of its own, and waits until it answers.

    Args:
        storage: Address of the shared storage.
        runs: Runs folder, for the database and the server's log.
        port: Port to serve on.

    Returns:
        0.

    Raises:
        InputError: If the server does not answer in time; the message has the last line of its
            log.
    """
    if answers(port):
        print(f"MLflow answers on http://127.0.0.1:{port}")
        return 0
    open_storage(storage)
    runs.mkdir(parents=True, exist_ok=True)
    log = runs / "mlflow-server.log"
    with log.open("ab") as file:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "engine.tracking_server", "--foreground"),
                *("--storage", storage, "--runs-dir", str(runs), "--port", str(port)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    begun = time.monotonic()
    while not answers(port):
        if server.poll() is not None or time.monotonic() - begun > START:
            server.terminate()
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise InputError(f"MLflow's server does not start: {' '.join(said)} (see {log})")
        time.sleep(0.5)
    print(f"MLflow answers on http://127.0.0.1:{port} after {time.monotonic() - begun:.0f} s")
    return 0


def serve(storage: UPath, runs: Path, port: int) -> int:
    """Runs the server until it is killed, and copies the database to the storage regularly.

    Args:
        storage: Shared storage, for the artifacts and the database copy.
        runs: Runs folder, for the database.
        port: Port to serve on.

    Returns:
        The exit code of the server.
    """
    database, copy = runs.resolve() / DATABASE, storage / DATABASE
    check_answers(uri := f"sqlite:///{database}")
    with away_is_an_oserror(copy):
        if not database.is_file() and copy.is_file():
            print(f"the database is taken from {copy}", flush=True)
            write_whole(database, copy.read_bytes())
    make_database(database)
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--backend-store-uri", uri),
            *("--artifacts-destination", str(storage / ARTIFACTS)),
        ]
    )
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    copied, pause = 0.0, FIRST_COPY
    while True:
        try:
            code = server.wait(timeout=pause)
        except subprocess.TimeoutExpired:
            code = None
        pause = BETWEEN_COPIES
        try:
            if (changed := database.stat().st_mtime) > copied:
                copy_database(database, copy)
                copied = changed
        except (OSError, sqlite3.Error) as error:  # the server and the studies continue
            print(f"the database cannot be copied ({described(error)})", flush=True)
        if code is not None:
            return code


def copy_database(database: Path, copy: UPath) -> None:
    """Copies a consistent snapshot of an SQLite database that other processes write to."""
    with tempfile.TemporaryDirectory() as scratch:
        moment = Path(scratch) / DATABASE
        reader, writer = sqlite3.connect(database), sqlite3.connect(moment)
        try:
            reader.backup(writer)
        finally:
            reader.close()
            writer.close()
        write_whole(copy, moment.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
