"""Of what a trial on Ray died: the error, its words, and what the process wrote last."""

import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import ray
from ray import cloudpickle
from ray.exceptions import RayActorError
from ray.tune.experiment import Trial as TuneTrial

from engine.on_ray import nodes

LOG_LINES = 30
"""Of a process that died, what it wrote last."""

NODE_DIED = "its node has died"
"""What Ray says of an actor on a node that is gone."""


def error_of(trial: TuneTrial) -> tuple[Exception | None, str]:
    """What ended a trial: the error, if it was kept, and the text of it.

    Read where the driver wrote it: `TuneTrial.get_error` reads the copy in the storage, which may
    not be there yet.
    """
    # Whatever a process may have written: what ended the trial is told, not what cannot be read.
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
    """The error of the operating system that an error came from."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, ConnectionError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def process_died(error: Exception | None, text: str) -> bool:
    """Whether a trial ended because its process did, and not by an error of its own; an error of
    CUDA leaves a process that cannot be used any more."""
    if "CUDA error" in text:
        return True
    return isinstance(error, RayActorError)


def last_line(text: str) -> str:
    """What there is to say of an error, in one line."""
    detail = re.search(r"Worker exit detail: (.*?)(\. |$)", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return detail[1] if detail else lines[-1] if lines else "it died without a word"


@dataclass(frozen=True)
class Process:
    """Where a trial runs.

    Attributes:
        ip: Of the node.
        pid: Of the process.
    """

    ip: str
    pid: int


def last_log(place: Process | None, text: str) -> str:
    """The last lines that a trial's process wrote, if its node is there; else those of the
    error."""
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
    """The lines that a process of Ray's on this node wrote."""
    logs = Path(ray._private.worker._global_node.get_logs_dir_path())  # pyright: ignore
    return [
        line
        for file in sorted(logs.glob(f"worker-*-{pid}.*"))
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip() and not line.startswith(":")  # Ray's own marks
    ]
