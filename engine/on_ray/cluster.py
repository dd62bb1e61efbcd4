"""Connects to a Ray cluster, or starts and supervises Ray on this machine; a parallel map."""

import logging
import os
import signal
import socket
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import psutil
import ray
from ray._common.utils import get_default_system_temp_dir
from ray.exceptions import RayError, RayTaskError

from datasets.errors import InputError
from datasets.machine import cores
from datasets.parallel import ParallelMap
from engine.on_ray import nodes

Item = TypeVar("Item")
Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parents[2]

CODE = ("analysis", "datasets", "engine", "orrery.py", "record", "studies", "trainables")
"""Top-level modules of this project that are shipped to the nodes of a cluster."""

LONGEST_START = 180.0
"""Timeout in seconds for Ray's start here; it takes about 3 s, and 30 s under heavy load."""

LOOKS_A_SECOND = 2
"""Checks per second of whether the raylet process is alive."""

ANSWER = 5.0
"""Timeout in seconds of the first connection to a cluster's head node."""

TASKS_AHEAD = 4
"""Tasks of `ray_map` in flight per core: enough that no core waits for the slowest task."""


LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Maximum length of a Unix socket's path, in bytes."""

SOCKET = "ray/session_2000-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
"""Longest path of a socket that Ray creates in the temporary folder."""


_STARTING = threading.RLock()
"""Held by the thread that starts or stops Ray."""


class RayDied(InputError):
    """Ray's own processes or nodes were lost, or did not start."""


def check_sockets() -> None:
    """Checks that Ray can create its sockets in this machine's temporary folder.

    Raises:
        InputError: If the paths of the sockets would be too long.
    """
    folder = get_default_system_temp_dir()
    address = os.path.join(folder, SOCKET.format(pid=os.getpid()))  # noqa: PTH118
    over = len(os.fsencode(address)) - LONGEST_SOCKET
    if over > 0:
        raise InputError(
            f"the temporary folder {folder} is {over} bytes too long for Ray's sockets: set "
            "RAY_TMPDIR, or TMPDIR, to a shorter one, such as RAY_TMPDIR=/tmp"
        )


def start(address: str | None = None) -> None:
    """Connects to a cluster, or starts Ray on this machine; does nothing if connected already.

    Args:
        address: Address of the cluster; None to start Ray on this machine.

    Raises:
        RayDied: If Ray does not start.
        InputError: If there is no such cluster, or it runs another version.
    """
    with _STARTING:
        if not ray.is_initialized():
            _start(address)


def _start(address: str | None) -> None:
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        if address is None:
            _start_here()
        else:
            _join(address)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminated)  # Ray replaced it
    # Ray would print a paragraph for each process that crashes; the study reports it in one line.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None  # pyright: ignore


def stop() -> None:
    """Disconnects from Ray, and stops it if `start` started it on this machine."""
    with _STARTING:
        ray.shutdown()


@contextmanager
def own_ray(*, early: bool) -> Iterator[Callable[[], None]]:
    """Stops Ray at the end of the context, unless it was running before.

    Args:
        early: Start Ray on this machine at once, in the background. `start` waits for that, and
            tries again if it failed.

    Yields:
        A function that disconnects from Ray and stops it in the background. Call it in the main
        thread.
    """
    if ray.is_initialized():
        yield lambda: None
        return
    if early:
        _import_ahead()
    serving = _Serving(early)
    serving.start()
    try:
        yield serving.leave
    finally:
        serving.leave()
        serving.join()


class _Serving(threading.Thread):
    """Starts Ray if wanted, and stops its processes after `leave`.

    Linux ends Ray's processes with the thread that started them, so this one stays until then.
    """

    def __init__(self, early: bool) -> None:
        super().__init__(name="Ray", daemon=True)
        self.early = early
        self.left = threading.Event()
        self.node: Any = None

    def run(self) -> None:
        with _STARTING:
            if self.early and not self.left.is_set():
                try:
                    start()
                except RayDied:
                    stop()
        self.left.wait()
        if self.node is not None:
            self.node.kill_all_processes(check_alive=False, allow_graceful=True)

    def leave(self) -> None:
        """Disconnects this process from Ray, and leaves it to the thread to stop Ray's processes.

        `ray.shutdown` does both, and would wait a second for the processes. In another thread it
        would end this process if an object is dropped meanwhile.
        """
        with _STARTING:
            if not self.left.is_set():
                worker: Any = ray._private.worker  # pyright: ignore
                self.node, worker._global_node = worker._global_node, None
                ray.shutdown()
                self.left.set()


def _import_ahead() -> None:
    """Imports what Ray's start imports.

    Two threads that import the same packages at the same time may meet half-initialised modules.
    """
    import ray._common.usage.usage_lib  # noqa: F401
    import ray.dashboard.optional_deps  # noqa: F401


def _start_here() -> None:
    # Workers import by this path, not by the driver's `sys.path` (see studies/__init__.py).
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    # Without the variable, Ray would write a token into the home folder.
    os.environ.setdefault("RAY_AUTH_TOKEN", uuid.uuid4().hex)
    try:
        with _given_up_after(LONGEST_START):
            ray.init(
                address="local",
                num_cpus=cores(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
            )
    except Exception as error:  # Ray raises the bare Exception class
        reason = str(error).splitlines()[0]
        raise RayDied(f"Ray does not start ({reason})") from error


@contextmanager
def _given_up_after(seconds: float) -> Iterator[None]:
    """Kills the raylet started inside of the context if this takes longer than so many seconds.

    On a machine under load the raylet may never answer, and the start would block forever. Ray
    ends this process together with its raylet; the next command starts Ray again.
    """
    over = threading.Event()
    before = psutil.Process().children()

    def watch() -> None:
        if over.wait(seconds):
            return
        print(f"Ray has not started for {seconds:.0f} s, and is ended", file=sys.stderr)
        for child in psutil.Process().children():
            if child.name() == "raylet" and child not in before:
                child.kill()

    threading.Thread(target=watch, name="Ray's start", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _join(address: str) -> None:
    """Connects to a cluster and ships this code to it, whatever is installed on its nodes."""
    code = {"py_modules": [str(ROOT / each) for each in CODE]}
    try:
        if address != "auto":
            host, _, port = address.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=ANSWER):
                pass  # fails fast, where Ray itself would wait for minutes
        ray.init(
            address=address, runtime_env=code, log_to_driver=False, logging_level=logging.ERROR
        )
    except (OSError, RuntimeError, ValueError, RayError) as error:  # Ray has no specific class
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"--address {address}: cannot join a Ray cluster there ({reason}); on a node of one "
            "it is `auto`, `ray up cluster.yaml` starts one"
        ) from error


def surviving(
    action: Callable[[], Result],
    address: str | None,
    max_failures: int,
    notify: Callable[[str], None],
) -> Result:
    """Runs an action on Ray, and repeats it from the start after each RayDied.

    Call it in the main thread. RayDied means that Ray crashed, or that a cluster node was lost
    with work that cannot continue elsewhere.

    Args:
        action: The action to run.
        address: Address of the cluster; None for Ray on this machine.
        max_failures: Maximum number of repetitions.
        notify: Prints a message for the user about each repetition.

    Returns:
        The result of the action.

    Raises:
        RayDied: If the action failed more than `max_failures` times.
    """
    worker_failures = 0
    while True:
        try:
            start(address)
            with _watched() if address is None else nullcontext():
                return action()
        except RayDied as error:
            worker_failures += 1
            if address is None:
                stop()
            if worker_failures > max_failures:
                raise RayDied(f"{error}, {worker_failures} times") from error
            notify(f"{error}; it is {'started' if address is None else 'tried'} again")


class _Interruption(BaseException):
    """The raylet is gone; a BaseException, so that no ``except Exception`` of Tune catches it."""


@contextmanager
def signals_masked() -> Iterator[None]:
    """Blocks the signal of a lost raylet inside the context, so that writes are not cut short."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _watched() -> Iterator[None]:
    """Raises RayDied in the main thread, which must be this one, if Ray's raylet is lost.

    Calls into Ray would otherwise wait for the raylet until Ray ends this process silently.
    """
    children = psutil.Process().children()
    raylet = next((child for child in children if child.name() == "raylet"), None)
    over, dead, main = threading.Event(), threading.Event(), threading.get_ident()

    def watch() -> None:
        while not over.wait(1 / LOOKS_A_SECOND):
            if raylet is None or not _lives(raylet):
                dead.set()
                signal.pthread_kill(main, signal.SIGUSR2)
                return

    def died(*_: object) -> None:
        raise _Interruption

    before = signal.signal(signal.SIGUSR2, died)
    thread = threading.Thread(target=watch, name="raylet", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:  # a call into Ray turns the interruption into a SystemError
        if dead.is_set() or raylet is None or not _lives(raylet):
            raise RayDied("Ray died") from error
        raise
    finally:
        with signals_masked():
            over.set()
            thread.join()
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # discards a pending signal
        signal.signal(signal.SIGUSR2, before)


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def ray_map(address: str | None = None) -> ParallelMap:
    """Returns a parallel version of the builtin ``map``, which runs one Ray task per item.

    Only a window of tasks is in flight at a time, so that items and results of gigabytes in total
    do not fill the object store, and little work is left running if one item fails.

    Args:
        address: Address of the cluster; None for Ray on this machine.

    Returns:
        The map, see `datasets.parallel.ParallelMap`. It raises the function's own exceptions, and
        RayDied if Ray does not start or crashes.
    """

    def mapped(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterable[Result]:
        start(address)
        task = ray.remote(num_cpus=1)(function)
        waiting = iter(items)
        window = TASKS_AHEAD * max(1, nodes.slots(cpus=1, gpus=0))
        under_way = deque(task.remote(item) for item in islice(waiting, window))
        while under_way:
            try:
                result = ray.get(under_way.popleft())
            except RayTaskError as error:
                raise error.cause from None
            except RayError as error:  # Ray has already retried the task
                line = str(error).splitlines()[0]
                raise RayDied(f"Ray died ({line}); the same command begins again") from error
            under_way.extend(task.remote(item) for item in islice(waiting, 1))
            yield result

    return mapped
