"""MLflow's server of a cluster: started once, and its database back on a new disk."""

import gc
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine import tracking_server
from record.tracking import connect

# The server is meant to outlive the process that started it.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@pytest.fixture
def port() -> int:
    """One that is free."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def command(tmp_path, port) -> Iterator[list[str]]:
    """Starts the server; at the end nothing of it runs."""
    runs = tmp_path / "runs"
    yield [
        *("--storage", str(tmp_path / "shared"), "--runs-dir", str(runs), "--port", str(port)),
    ]
    end(runs)
    gc.collect()  # here the warning of what is left running is ignored


def end(runs: Path, by: int = signal.SIGKILL) -> None:
    """Ends the processes that serve a runs folder, and those that they started."""
    named = [p for p in psutil.process_iter(["cmdline"]) if str(runs) in str(p.info["cmdline"])]
    serving = {process for each in named for process in (each, *each.children(recursive=True))}
    for process in serving:
        if process.is_running():
            process.send_signal(by)
    psutil.wait_procs(serving, timeout=120)


def test_a_server_begins_on_a_new_disk_with_what_it_knew(command, tmp_path, port, capsys):
    runs = tmp_path / "runs"
    assert tracking_server.main(command) == 0
    assert "MLflow answers on" in capsys.readouterr().out
    uri = f"http://127.0.0.1:{port}"
    connect(uri).create_experiment("a study")
    assert tracking_server.main(command) == 0, "one that runs already is left alone"

    main_process = next(
        process
        for process in psutil.process_iter(["cmdline"])
        if "--foreground" in (process.info["cmdline"] or []) and str(runs) in process.cmdline()
    )
    main_process.send_signal(signal.SIGTERM)
    main_process.wait(timeout=120)
    end(runs)
    (runs / tracking_server.DATABASE).unlink()

    assert tracking_server.main(command) == 0
    assert connect(uri).get_experiment_by_name("a study") is not None


def test_a_server_without_its_storage_does_not_start(tmp_path, port, capsys):
    command = ["--storage", "ftps://nowhere/orrery", "--runs-dir", str(tmp_path / "runs")]
    assert tracking_server.main([*command, "--port", str(port)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --storage ftps://nowhere/orrery: cannot be used")
