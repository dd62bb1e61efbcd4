"""Runs NVIDIA's Multi-Process Service (MPS) for the processes of one study.

Without MPS, processes that share a GPU take turns on it. With MPS their kernels run at the same
time, through a shared server, so that a fatal GPU error of one process ends the others as well.
https://docs.nvidia.com/deploy/mps
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from datasets.errors import described

BINARY = "nvidia-cuda-mps-control"

PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
"""Environment variables with the folders of MPS, for its daemon and its client processes."""

QUIT = 'read -r over; echo quit | "$0"'
"""Shell script that waits for a line or the end of its stdin, and then stops the daemon ``$0``."""

PATIENCE = 30.0
"""Timeout in seconds for the daemon to start, and to stop."""


@contextmanager
def mps(notify: Callable[[str], None], end: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Runs a private MPS daemon for the processes that start inside the context.

    If the daemon cannot start, the user is notified and the context runs without MPS.

    Args:
        notify: Prints a message for the user.
        end: Ends the client processes; it is called before the daemon is stopped.
    """
    with tempfile.TemporaryDirectory(prefix="orrery-mps-", ignore_cleanup_errors=True) as folder:
        here = {PIPES: f"{folder}/pipe", LOGS: f"{folder}/log"}
        for each in here.values():
            Path(each).mkdir()
        # The daemon must see all GPUs: it would renumber a subset, and the indices that Ray gives
        # to trials would then name other GPUs.
        environment = {**os.environ, **here}
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        if problem := _start(environment):
            notify(f"--mps: {problem}; trials that share a GPU take turns on it")
            yield
            return
        with _quit_at_the_end(environment), _variables(here):
            try:
                yield
            finally:
                end()


def _start(environment: Mapping[str, str]) -> str:
    """Starts the daemon; returns why it did not start, or an empty string if it did."""
    if shutil.which(BINARY) is None:
        return f"there is no {BINARY} on PATH, which comes with NVIDIA's driver"
    said = Path(environment[LOGS]) / "start"
    try:
        with said.open("wb") as output:
            subprocess.run(
                [BINARY, "-d"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=PATIENCE,
                check=True,
            )
    except (OSError, subprocess.SubprocessError) as error:
        lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{BINARY} does not start ({lines[-1] if lines else described(error)})"
    return ""


@contextmanager
def _quit_at_the_end(environment: Mapping[str, str]) -> Iterator[None]:
    """Starts a helper process that stops the daemon, even if this process is killed."""
    quitting = subprocess.Popen(
        ["/bin/sh", "-c", QUIT, BINARY],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        with suppress(subprocess.TimeoutExpired):  # the daemon still waits for its last client
            quitting.communicate(b"over\n", timeout=PATIENCE)


@contextmanager
def _variables(given: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables inside the context, and restores them afterwards."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
