"""Prepares a study from its command: data, search space, forecast, locks, log and MLflow."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import filelock

from datasets.addresses import shown
from datasets.cache import Cache
from datasets.errors import InputError
from datasets.tools import Tools
from engine import forecast
from engine.backend import Backend
from engine.checkpoints import Checkpoints, as_upath
from engine.command import Command
from engine.earlier import earlier_states, from_earlier, with_carried
from engine.gpu_share import needed_gib
from engine.lease import lease
from engine.opening import OpenStudy, open_study
from engine.place import is_new
from engine.provenance import Code, of_this_code
from engine.resources import Resources
from engine.session import measured_before, narrowed, session_of
from engine.space import Space
from record import names
from record.events import SessionBegan
from record.state import StudyState
from record.tracker import NotRecorded
from trainables.problem import Problem, check_problem


@dataclass
class Prepared:
    """An open study with everything that its trials need.

    Attributes:
        command: The study and its command line.
        problem: Data and task that the trials learn from.
        space: The search space.
        resources: Resources of the trials.
        backend: Backend that runs the trials.
        open: The study's log and MLflow tracker.
        checkpoints: Checkpoints of the trials.
        code: Version of the code that trains the trials.
        begun: ``time.monotonic()`` when the study was opened.
    """

    command: Command
    problem: Problem[Any]
    space: Space
    resources: Resources
    backend: Backend
    open: OpenStudy
    checkpoints: Checkpoints
    code: Code
    begun: float


@contextmanager
def prepare(command: Command, resources: Resources) -> Iterator[Prepared | None]:
    """Opens a study for the duration of the context; yields None for ``--dry-run``.

    If the context ends with an exception, the session is logged as killed.

    Raises:
        InputError: If the study cannot be run; no session is logged then.
        OSError: If its log cannot be read or written.
    """
    starts_from = bool(command.earlier) and is_new(command)
    if starts_from:
        earlier_states(command)
    problem = _problem(command, resources)
    space = command.space(problem.decided)
    for config in space.listed or [space.extreme(value, max) for value in space.compared]:
        problem.check(config)
    earlier = from_earlier(command, problem, space) if starts_from else {}
    backend = resources.backend(problem)
    needed = _profile(command, space, resources, backend) if _has_preflight(command) else None
    if command.options.dry_run:
        yield None
        return
    begun = time.monotonic()
    with _locked(command):
        checkpoints = Checkpoints(as_upath(str(command.folder.sessions)))
        code = of_this_code(command.study.file)
        begin = partial(_begin, command, problem, space, code, needed, checkpoints, earlier)
        study = _opened(command, begin)
        try:
            space = with_carried(space, study.state.search(), study.state.sessions[0].spec)
            if text := narrowed(study.state, space):
                command.notify(text)
            yield Prepared(
                command, problem, space, resources, backend, study, checkpoints, code, begun
            )
        except BaseException:
            study.cut_off()
            raise


def _problem(command: Command, resources: Resources) -> Problem[Any]:
    cache = Cache(command.options.data_dir, command.folder.prepared_data)
    tools = Tools(cache, resources.parallel, command.notify)
    problem = command.study.open(command.data_options, command.seed, tools)
    check_problem(problem)
    return problem


def _has_preflight(command: Command) -> bool:
    """Returns True if the pre-flight should run: for a new study, and always for ``--dry-run``.

    ``--local`` and ``--smoke`` skip it, the latter because the study takes no longer itself.
    """
    quick = command.options.local or command.options.smoke
    return command.options.dry_run or (not quick and is_new(command))


def _profile(
    command: Command, space: Space, resources: Resources, backend: Backend
) -> float | None:
    """Profiles the extreme configurations of the space and prints the forecast of the study.

    Returns:
        Maximum GPU memory of a trial, in GiB; None on the CPU.

    Raises:
        InputError: If no configuration can be trained, or the disk is too small.
    """
    begun = time.monotonic()
    configs, options = forecast.profiled_configurations(space), command.options
    done = backend.profile_all(configs, command.notify)
    needed = needed_gib(done) if resources.gpus else None
    resources.share(backend, needed)
    found = forecast.Forecast(
        space,
        dict(zip(configs, done, strict=True)),
        trials=options.total(space.largest),
        finals=command.final_seeds * (command.finalists + 1 if command.finalists else 0),
        concurrent=backend.concurrent_trials(),
        keep=options.keep,
        memory=backend.memory_of_a_trial(),
    )
    found.check_trainable()
    command.console.print(found.table())
    command.notify(f"{found.text()} (pre-flight: {time.monotonic() - begun:.1f} s)\n")
    found.check_disk(command.storage or options.runs_dir)
    return needed


@contextmanager
def _locked(command: Command) -> Iterator[None]:
    """Locks the study, so that no other process or machine runs it.

    Raises:
        InputError: If it is running elsewhere.
    """
    folder = command.folder
    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder.lock, timeout=0), _leased(command):
            yield
    except filelock.Timeout:
        raise InputError(
            f"the study {command.name} is running in another process: wait for it, or give this "
            "one a --name of its own"
        ) from None


def _leased(command: Command) -> AbstractContextManager[None]:
    if command.folder.store is None:
        return nullcontext()
    return lease(command.folder, command.notify)


def _begin(
    command: Command,
    problem: Problem[Any],
    space: Space,
    code: Code,
    needed: float | None,
    checkpoints: Checkpoints,
    earlier: Mapping[str, Any],
    state: StudyState,
) -> SessionBegan:
    if checkpoints.sessions and not state.sessions:
        raise InputError(
            f"{checkpoints.root} has checkpoints of a study whose log is gone: bring the log "
            "back, move the checkpoints away, or choose another --name"
        )
    if state.sessions:
        spec = state.sessions[0].spec
        asked = ", ".join(command.earlier) or spec.get(names.FROM)
        earlier = {names.FROM: asked} if asked else {}
    else:
        spec = earlier = earlier or from_earlier(command, problem, space)
    space = with_carried(space, state.search(), spec)
    needed = needed or measured_before(state)
    return session_of(command, problem, space, code, needed, state, earlier)


def _opened(command: Command, begin: partial[SessionBegan]) -> OpenStudy:
    uri = command.options.tracking_uri
    try:
        return open_study(command.folder, uri, begin, command.notify)
    except NotRecorded as error:
        raise InputError(
            f"the tracking store {shown(uri)} does not answer ({error}); the same command tries "
            "again"
        ) from error
