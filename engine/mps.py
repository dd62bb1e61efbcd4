"""NVIDIA's Multi-Process Service (MPS), for the processes of one study.

Without it processes that share a GPU take turns on it; with it their work runs there at the same
time, through a server that belongs to them all: an error of one that the GPU cannot recover from
ends the others as well. https://docs.nvidia.com/deploy/mps
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
"""Where CUDA, in the daemon and in the processes that it serves, looks for it."""

QUIT = 'read -r over; echo quit | "$0"'
"""Waits for a line, or for the end of the pipe where the writer died, and ends the daemon."""

PATIENCE = 30.0
"""Seconds that the daemon may take to start, and to end."""


@contextmanager
def mps(notify: Callable[[str], None], end: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Has an MPS of its own serve the processes that are begun meanwhile. Where there can be none,
    a line says so.

    Args:
        notify: Where to say so.
        end: Ends these processes, which has to be done before what serves them ends.
    """
    with tempfile.TemporaryDirectory(prefix="orrery-mps-", ignore_cleanup_errors=True) as folder:
        here = {PIPES: f"{folder}/pipe", LOGS: f"{folder}/log"}
        for each in here.values():
            Path(each).mkdir()
        # It is to see all GPUs: those that it was told of it would number anew, and the numbers
        # that Ray gives to trials would be those of others.
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
    """Starts the daemon; returns why it did not start, else nothing."""
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
    """Has a small process end the daemon, whatever becomes of this one."""
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
        with suppress(subprocess.TimeoutExpired):  # it goes on to wait for the last process
            quitting.communicate(b"over\n", timeout=PATIENCE)


@contextmanager
def _variables(given: Mapping[str, str]) -> Iterator[None]:
    """Sets variables of the environment for as long as it lasts."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
