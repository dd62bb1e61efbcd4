"""Finds out why a trial on Ray failed: the error, its message, and the last output lines."""

import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import ray
from ray import cloudpickle
from ray.exceptions import RayActorError, RayTaskError, WorkerCrashedError
from ray.tune.experiment import Trial as TuneTrial

from datasets.errors import InputError
from engine.on_ray import nodes

LOG_LINES = 30
"""Number of last output lines that are kept of a crashed process."""

NODE_DIED = "its node has died"
"""Part of Ray's error message for an actor on a lost node."""


def error_of(trial: TuneTrial) -> tuple[Exception | None, str]:
    """Returns the exception that ended a trial, if it can be unpickled, and its text.

    Both are read where the driver wrote them, because `TuneTrial.get_error` reads a copy in the
    storage, which may not exist yet.
    """
    # The text may have any bytes: decoding must not hide why the trial ended.
    file = Path(trial.error_file) if trial.error_file else None
    text = file.read_text(encoding="utf-8", errors="replace") if file else ""
    error = None
    if trial.pickled_error_file:
        try:
            error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        except (OSError, pickle.PickleError, AttributeError, ImportError):
            error = None
    return error, text


def of_the_machine(error: BaseException) -> OSError | None:
    """Returns the OSError in an exception's chain of causes, except ConnectionError; else None."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, ConnectionError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def bad_input(error: BaseException) -> InputError | None:
    """Returns the InputError in an exception's chain of causes; else None."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__ or cause.__context__
    return cause


def process_died(error: Exception | None, text: str) -> bool:
    """Returns True if a trial ended because its process crashed, not by an exception of its own.

    A CUDA error counts as a crash, because the process cannot be used afterwards.
    """
    if "CUDA error" in text:
        return True
    cause = error.cause if isinstance(error, RayTaskError) else error
    return isinstance(cause, (RayActorError, WorkerCrashedError))  # the latter of a task of it


def last_line(text: str) -> str:
    """Summarises the text of an error in one line: Ray's exit detail, or else the last line."""
    detail = re.search(r"Worker exit detail: (.*?)(\. |$)", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return detail[1] if detail else lines[-1] if lines else "it died without a word"


@dataclass(frozen=True)
class Process:
    """The process in which a trial runs.

    Attributes:
        ip: IP address of its node.
        pid: Process id.
    """

    ip: str
    pid: int


def last_log(place: Process | None, text: str) -> str:
    """Returns the last output lines of a trial's process, or those of the error's text.

    Args:
        place: The process; None to take it from the error's text.
        text: Text of the error, used if the process's output cannot be read.
    """
    if place is None and (named := re.search(r"pid[:=] ?(\d+)", text)):
        ip = re.search(r"\bip[:=] ?([\d.]+)", text)
        place = Process(ip[1] if ip else ray.util.get_node_ip_address(), int(named[1]))
    written = []
    if place is not None and place.ip == ray.util.get_node_ip_address():
        written = _written_by(place.pid)
    elif place is not None:
        written = nodes.on_ip(place.ip, _written_by, place.pid) or []
    return "\n".join((written or text.splitlines())[-LOG_LINES:])


def _written_by(pid: int) -> list[str]:
    """Returns the output lines of a Ray worker process on this node."""
    logs = Path(ray._private.worker._global_node.get_logs_dir_path())  # pyright: ignore
    return [
        line
        for file in sorted(logs.glob(f"worker-*-{pid}.*"))
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip() and not line.startswith(":")  # Ray's own markers
    ]
