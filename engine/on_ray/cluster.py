"""Ray: joined, or on this machine started, watched and started again; and a parallel map on it."""

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
from typing import TypeVar

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
"""What a trial may import of this project."""

LONGEST_START = 180.0
"""Seconds that Ray may take to start here; it takes some three, and thirty under heavy load."""

LOOKS_A_SECOND = 2
"""At whether the raylet lives."""

ANSWER = 5.0
"""Seconds that a cluster's head may take to answer at first."""

TASKS_AHEAD = 4
"""Tasks of `ray_map` a core: enough that none waits for the slowest of them."""


LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Bytes of a socket's address, as operating systems have it."""

SOCKET = "ray/session_2000-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
"""The longest that Ray makes in the temporary folder."""


class RayDied(InputError):
    """Ray's own processes are gone, or did not start."""


def check_sockets() -> None:
    """Checks that Ray, started here, could make its sockets in the temporary folder.

    Raises:
        InputError: If their addresses were too long.
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
    """Joins a cluster, or starts Ray on this machine; does nothing where that was done.

    Args:
        address: Of the cluster; None: Ray is started.

    Raises:
        RayDied: If it does not start.
        InputError: If there is no such cluster, or it is of another version.
    """
    if ray.is_initialized():
        return
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        if address is None:
            _start_here()
        else:
            _join(address)
    finally:
        signal.signal(signal.SIGTERM, terminated)  # Ray has set one of its own
    # Ray would print a paragraph for each process that dies; the study says it in a line.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None  # pyright: ignore


def stop() -> None:
    """Ends what `start` began."""
    ray.shutdown()


def _start_here() -> None:
    # Workers import by this path, not by the driver's `sys.path` (see studies/__init__.py).
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    # Ray would otherwise write a token into the home folder.
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
    except Exception as error:  # it raises this very class
        reason = str(error).splitlines()[0]
        raise RayDied(f"Ray does not start ({reason})") from error


@contextmanager
def _given_up_after(seconds: float) -> Iterator[None]:
    """Ends Ray where it does not start: on a machine under load it may happen that its raylet
    never answers, and the call would wait for ever. Ray ends this process with its raylet; the
    next command starts it anew.
    """
    over = threading.Event()

    def watch() -> None:
        if over.wait(seconds):
            return
        print(f"Ray has not started for {seconds:.0f} s, and is ended", file=sys.stderr)
        for child in psutil.Process().children():
            if child.name() == "raylet":
                child.kill()

    threading.Thread(target=watch, name="Ray's start", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _join(address: str) -> None:
    """The trials run this very code, whatever is installed on their nodes."""
    code = {"py_modules": [str(ROOT / each) for each in CODE]}
    try:
        if address != "auto":
            host, _, port = address.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=ANSWER):
                pass  # Ray itself would wait for minutes
        ray.init(
            address=address, runtime_env=code, log_to_driver=False, logging_level=logging.ERROR
        )
    except (OSError, RuntimeError, ValueError, RayError) as error:  # it has no class of its own
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
    """Does something on Ray, in the main thread, and again from its beginning when Ray dies, or a
    node of the cluster while something is done that cannot go on elsewhere.

    Args:
        action: What to do.
        address: See `start`.
        max_failures: Times that it is done again.
        notify: Where to say so.

    Raises:
        RayDied: If it died once more.
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
    """The raylet is gone. No ``except Exception`` on the way, such as Tune's, is to take it."""


@contextmanager
def signals_masked() -> Iterator[None]:
    """Holds back for a moment that the raylet is gone: what is written down is written whole."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _watched() -> Iterator[None]:
    """Raises RayDied in this thread, which has to be the main one, when Ray's raylet is gone; the
    calls of Ray would wait for it, until the process is ended without a word.
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
    except BaseException as error:  # a call of Ray makes a SystemError of it
        if dead.is_set() or raylet is None or not _lives(raylet):
            raise RayDied("Ray died") from error
        raise
    finally:
        with signals_masked():
            over.set()
            thread.join()
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # one that is on its way is for nobody
        signal.signal(signal.SIGUSR2, before)


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def ray_map(address: str | None = None) -> ParallelMap:
    """The builtin ``map``, a Ray task an item; see `datasets.parallel.ParallelMap`.

    A window of tasks is under way at once: items and results of gigabytes in all do not fill the
    object store, and little work is left running when one item fails.

    Args:
        address: See `start`.

    Returns:
        The map. It raises what the function raises, as itself, and RayDied if Ray does not start
        or dies.
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
            except RayError as error:  # it was tried again, in other processes
                line = str(error).splitlines()[0]
                raise RayDied(f"Ray died ({line}); the same command begins again") from error
            under_way.extend(task.remote(item) for item in islice(waiting, 1))
            yield result

    return mapped
