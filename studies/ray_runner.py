"""Runs trials on Ray.

Tune places the trials and decides which are stopped early; it retries none and its snapshots are
not used. A trial whose process died is proposed again, by the ledger, and goes on from its
checkpoint as one of an earlier session does: there is one way to continue.
"""

import logging
import os
import pickle
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

# Read when Tune is imported: no loggers and no display of Tune's own beside ours, no complaint
# about a result that carries a failure instead of the metric, no handler of Ctrl-C before ours.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")

import ray
from ray import cloudpickle, tune
from ray.exceptions import (
    ActorUnavailableError,
    LocalRayletDiedError,
    NodeDiedError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from studies import nodes
from studies.budgets import Stop
from studies.checkpoints import DEPTH
from studies.ledger import Ledger
from studies.options import Options
from studies.ray_cluster import RayDied, start, surviving, undisturbed
from trainables.config import FitConfig
from trainables.device import ran_out_of_memory
from trainables.rehearsal import Rehearsal, rehearse, room_gib
from trainables.stepper import TaskFactory
from trainables.trial import Trial
from trainables.trial_spec import TrialSpec, trial_folder
from trainables.versions import versions

FIRST_RUNG = 1 / 5
"""Share of its epochs after which a trial is first looked at; then after 2/5 and 4/5."""

REDUCTION = 2
"""At each rung the better half goes on. With few trials a third would leave only the baselines."""

LOG_LINES = 30
"""Of a process that died, what it wrote last."""

LOOK = 2.0
"""Seconds between two looks at which nodes there are."""

NODE_DIED = "its node has died"
"""What Ray says of an actor on a node that is gone."""

NODE_IS_GONE_AFTER = 60.0
"""Seconds until Ray knows at the latest that a node is gone."""

MANY = 10_000
"""More trials at once than there will be; `_Proposals` gives no more than there is room for."""


def _rehearsed(under_way: ray.ObjectRef) -> Rehearsal:
    try:
        return ray.get(under_way)
    except (LocalRayletDiedError, NodeDiedError) as error:
        raise RayDied("Ray died") from error
    except RayError as error:  # its process died, for want of memory most likely
        no_room = "running low on memory" in str(error)
        return Rehearsal(problem=_last_line(str(error)), no_room=no_room)


class RayRunner:
    """Runs a study's trials on Ray.

    Args:
        make_task: See `TaskFactory`.
        options: Scheduler and resources; which cluster.
        gpus: GPUs of each trial.
    """

    def __init__(self, make_task: TaskFactory, options: Options, gpus: float) -> None:
        self.make_task = make_task
        self.options = options
        self.gpus = gpus
        self.shared: tuple[str, ray.ObjectRef] | None = None

    def _data(self) -> ray.ObjectRef:
        """`make_task`, data and all, put once into the object store, of which each node that runs
        trials takes one copy; put again where Ray was started again."""
        driver = ray.get_runtime_context().get_worker_id()
        if self.shared is None or self.shared[0] != driver:
            self.shared = (driver, ray.put(self.make_task))
        return self.shared[1]

    def rehearse_all(
        self, configs: Sequence[FitConfig], say: Callable[[str], None]
    ) -> list[Rehearsal]:
        """Rehearses configurations with the resources of a trial each; see `rehearse`.

        Raises:
            RayDied: If Ray does not stay alive.
        """

        def all_of_them() -> list[Rehearsal]:
            data, cpus = self._data(), self.options.cpus_per_trial
            task = ray.remote(num_cpus=cpus, num_gpus=self.gpus, max_retries=0)(rehearse)
            under_way = [task.remote(config, data, cpus, self.gpus) for config in configs]
            return [_rehearsed(each) for each in under_way]

        return surviving(all_of_them, self.options.cluster, self.options.max_failures, say)

    def concurrent_trials(self) -> int:
        """How many trials run at once, on a cluster once it has grown. Tune itself would only ever
        ask a searcher for one ahead."""
        start(self.options.cluster)
        return self.options.max_concurrent or nodes.places(self.options.cpus_per_trial, self.gpus)

    def memory_of_a_trial(self) -> float:
        """GiB that there are for each trial on a node that takes trials; see `room_gib`."""
        start(self.options.cluster)
        cpus = self.options.cpus_per_trial
        most = max(node.holds(cpus, self.gpus) for node in nodes.alive())
        together = max(1, min(most, self.concurrent_trials()))
        task = ray.remote(num_cpus=cpus, num_gpus=self.gpus)(room_gib)
        return ray.get(task.remote(self.gpus, together))

    def run_trials(self, ledger: Ledger, session: str) -> None:
        """Runs trials until the ledger has none left or the session is to end.

        Args:
            ledger: Gives the trials and hears of them.
            session: Name of this session.
        """
        # What went wrong in a trial is shown in a line; its traceback lies in the trial's folder.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        names = (f"{session}-{attempt:03d}" for attempt in count())
        cluster, failures = self.options.cluster, self.options.max_failures

        def run() -> None:
            ledger.place_again()
            self._fit(ledger, next(names))

        try:
            surviving(run, cluster, failures, ledger.say)
            while ledger.begin_alone():
                surviving(run, cluster, failures, ledger.say)
        except RayDied as error:
            ledger.halt(Stop("trouble", str(error)))

    def _fit(self, ledger: Ledger, name: str) -> None:
        try:
            self._tuner(ledger, name).fit()
        except Exception as error:  # where Tune itself cannot write, it stumbles in several ways
            if (trouble := _of_the_machine(error)) is not None:
                ledger.trouble(trouble)
            elif not ledger.was_cut_short():
                raise

    def _trainable(self, alone: bool) -> type[tune.Trainable]:
        cpus, gpus = self.options.cpus_per_trial, self.gpus
        trainable = tune.with_parameters(
            Trial, make_task=[self._data()], cpus=cpus, gpus=gpus, versions=versions()
        )
        resources: dict[str, float] = {"cpu": cpus, "gpu": gpus}
        if alone:
            node = nodes.largest(cpus, gpus)
            resources = {"cpu": node.cpus, "gpu": node.gpus if gpus else 0}
        return tune.with_resources(trainable, resources)

    def _tuner(self, ledger: Ledger, name: str) -> tune.Tuner:
        cluster = _Cluster(self, ledger)
        timeout = 60 * self.options.trial_timeout
        return tune.Tuner(
            self._trainable(ledger.alone),
            tune_config=tune.TuneConfig(
                search_alg=_Proposals(ledger, cluster),
                scheduler=_scheduler(self.options, ledger),
                num_samples=-1,
                max_concurrent_trials=MANY,
                reuse_actors=True,
                trial_dirname_creator=_trial_folder,
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(ledger.checkpoints.root),
                callbacks=[_Reports(ledger, cluster, timeout)],
                stop=_SessionEnd(ledger),
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_frequency=1, checkpoint_at_end=False
                ),
                verbose=0,
            ),
        )


class _Cluster:
    """The nodes, looked at now and then.

    Args:
        runner: Knows how many trials they hold.
        ledger: Whose user hears who joins and who leaves.
    """

    def __init__(self, runner: RayRunner, ledger: Ledger) -> None:
        self.say = ledger.say
        self.deaths = ledger.deaths
        self.unreachable: list[tuple[float, int, str]] = []
        self.room = lambda: 1 if ledger.alone else runner.concurrent_trials()
        self.roll = nodes.Roll() if runner.options.cluster is not None else None
        self.places = self.room()
        self.looked = time.monotonic()
        if self.roll is not None:
            self.say(f"nodes: {self.roll.text()}; room for {self.places} trials at once")

    def look(self) -> None:
        """Looks who is there, if it is time to."""
        if self.roll is None or time.monotonic() - self.looked < LOOK:
            return
        self.looked = time.monotonic()
        joined, gone = self.roll.changes()
        for node in joined:
            self.say(f"node {node} joined")
        for node in gone:
            self.say(f"node {node.name} is gone")
        if joined or gone:
            self.places = self.room()
        self._charge({node.ip for node in self.roll.known.values()})

    def lost(self, number: int, place: "_Place | None") -> None:
        """A trial cannot be reached where it was; why, is known when its node is."""
        if place is not None:
            self.unreachable.append((time.monotonic(), number, place.ip))

    def _charge(self, there: set[str]) -> None:
        """Counts it as a death of the trial's own, if its node is there after all."""
        while self.unreachable and time.monotonic() - self.unreachable[0][0] > NODE_IS_GONE_AFTER:
            _, number, ip = self.unreachable.pop(0)
            self.deaths[number] += ip in there


def _trial_folder(trial: TuneTrial) -> str:
    spec = _spec(trial)
    return trial_folder(spec.number, spec.attempt)


def _spec(trial: TuneTrial) -> TrialSpec:
    return trial.config["trial"]


class _OfThisDriver:
    """Tune pickles its parts for a restore that this project does not use: the record of a study
    is its ledger, Optuna's journal, MLflow and the checkpoints. They stay out of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Proposals(_OfThisDriver, Searcher):
    """The ledger as Tune's source of trials."""

    def __init__(self, ledger: Ledger, cluster: _Cluster) -> None:
        super().__init__(metric=ledger.objective, mode="max")
        self.ledger = ledger
        self.cluster = cluster

    @undisturbed()
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if len(self.ledger.live) >= self.cluster.places and not self.ledger.should_stop():
            return None
        proposal = self.ledger.next()
        if proposal is None:
            # One that is under way may die and be proposed again.
            waiting = self.ledger.is_under_way() and not self.ledger.should_stop()
            return None if waiting else Searcher.FINISHED
        resume = self.ledger.resume_from(proposal)
        number, attempt = proposal.number, self.ledger.attempts[proposal.number]
        resumed = str(resume) if resume else None
        return {"trial": TrialSpec(number, proposal.config, proposal.baseline, resumed, attempt)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: `_Reports` hears of it with the trial itself in hand."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see `_OfThisDriver`."""


class _Reports(_OfThisDriver, tune.Callback):
    """What Tune says of the trials, passed on to the ledger.

    Args:
        ledger: Hears of them.
        cluster: Is looked at on the way.
        timeout: Seconds without a sign of life after which a trial is given up.
    """

    def __init__(self, ledger: Ledger, cluster: _Cluster, timeout: float) -> None:
        self.ledger = ledger
        self.cluster = cluster
        self.timeout = timeout
        self.places: dict[str, _Place] = {}
        self.running: dict[str, TuneTrial] = {}
        self.stuck: set[str] = set()

    @undisturbed()
    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self.running[trial.trial_id] = trial
        self.ledger.started(_spec(trial).number, {"orrery.tune_trial": trial.trial_id})

    @undisturbed()
    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        number = _spec(trial).number
        self.places[trial.trial_id] = _Place(result["node_ip"], result["pid"])
        if "failure" in result:
            self.ledger.failed(number, result["failure"])
        elif "out_of_memory" in result:
            self.ledger.out_of_memory(number, result["out_of_memory"])
        else:
            self.ledger.epoch(number, result)

    @undisturbed()
    def on_trial_save(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        assert trial.checkpoint is not None
        name = "/".join(PurePosixPath(trial.checkpoint.path).parts[-DEPTH:])
        self.ledger.saved(_spec(trial).number, name)

    @undisturbed()
    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self.running.pop(trial.trial_id, None)
        self.ledger.ended(_spec(trial).number)

    @undisturbed()
    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        number = _spec(trial).number
        self.running.pop(trial.trial_id, None)
        error, text = _error(trial)
        words = _last_line(text)
        place = self.places.pop(trial.trial_id, None)
        log = "" if isinstance(error, ActorUnavailableError) else _last_log(place, text)
        cause = error.cause if isinstance(error, RayTaskError) else error
        if trial.trial_id in self.stuck:
            minutes = f"{self.timeout / 60:g} minutes"
            self.ledger.failed(number, f"no epoch for {minutes}: stopped (--trial-timeout)", log)
        elif "running low on memory" in text or ran_out_of_memory(cause or Exception(text)):
            self.ledger.out_of_memory(number, words)
        elif isinstance(cause, OSError):
            self.ledger.leave(number)
            self.ledger.ended(number)
            self.ledger.trouble(cause)
        elif NODE_DIED in text:
            self.ledger.moved(number)
        elif isinstance(error, ActorUnavailableError) and self.cluster.roll is not None:
            self.cluster.lost(number, place)
            self.ledger.moved(number, "its process cannot be reached")
        elif _process_died(error, text):
            self.ledger.died(number, words, log)
        else:
            self.ledger.failed(number, words, log)

    @undisturbed()
    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self.cluster.look()
        for trial in self.running.values():
            if trial.status != TuneTrial.RUNNING or trial.trial_id in self.stuck:
                continue
            heard = self.ledger.records[_spec(trial).number].heard
            actor = trial.temporary_state.ray_actor
            if time.monotonic() - heard > self.timeout and actor is not None:
                self.stuck.add(trial.trial_id)
                ray.kill(actor)  # what it is stuck in would not let it stop by itself


def _error(trial: TuneTrial) -> tuple[Exception | None, str]:
    """What ended a trial: the error, if it was kept, and the text of it.

    Read where the driver wrote it: `TuneTrial.get_error` reads the copy in the storage, which may
    not be there yet.
    """
    text = Path(trial.error_file).read_text() if trial.error_file else ""
    error = None
    if trial.pickled_error_file:
        try:
            error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        except (OSError, pickle.PickleError, AttributeError, ImportError):
            error = None
    return error, text


def _of_the_machine(error: BaseException) -> OSError | None:
    """The error of the operating system that an error came from."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, ConnectionError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _process_died(error: Exception | None, text: str) -> bool:
    """Whether a trial ended because its process did, and not by an error of its own; an error of
    CUDA leaves a process that cannot be used any more."""
    if "CUDA error" in text:
        return True
    return isinstance(error, RayActorError)


def _last_line(text: str) -> str:
    """What there is to say of an error, in one line."""
    detail = re.search(r"Worker exit detail: (.*?)(\. |$)", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return detail[1] if detail else lines[-1] if lines else "it died without a word"


@dataclass(frozen=True)
class _Place:
    """Where a trial runs.

    Attributes:
        ip: Of the node.
        pid: Of the process.
    """

    ip: str
    pid: int


def _last_log(place: _Place | None, text: str) -> str:
    """The last lines that a trial's process wrote, if its node is there; else those of the
    error."""
    if place is None and (named := re.search(r"pid[:=] ?(\d+)", text)):
        ip = re.search(r"\bip[:=] ?([\d.]+)", text)
        place = _Place(ip[1] if ip else ray.util.get_node_ip_address(), int(named[1]))
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
        for line in file.read_text(errors="replace").splitlines()
        if line.strip() and not line.startswith(":")  # Ray's own marks
    ]


class _SessionEnd(_OfThisDriver, tune.Stopper):
    """Ends the session: trials that run are left after their epoch, and its checkpoint."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if not self.ledger.should_stop() or result.get("done"):
            return False
        self.ledger.leave(result["config"]["trial"].number)
        return True

    def stop_all(self) -> bool:
        """Once nothing is left but trials that wait for their place."""
        return self.ledger.should_stop() and not self.ledger.is_under_way(placed=True)


class _SparesBaselines(AsyncHyperBandScheduler):
    """Asynchronous successive halving (Li et al. 2020) that lets the baselines finish.

    They still count at the rungs: the others have to hold their own against them.
    """

    def on_trial_result(
        self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]
    ) -> str:
        decision = super().on_trial_result(tune_controller, trial, result)
        if _spec(trial).baseline and not result.get("done"):
            return TrialScheduler.CONTINUE
        return decision


def _scheduler(options: Options, ledger: Ledger) -> TrialScheduler:
    if options.scheduler == "none":
        return FIFOScheduler()
    epochs = ledger.search.space.epochs
    return _SparesBaselines(
        time_attr="epoch",
        metric=ledger.objective,
        mode="max",
        max_t=epochs,
        grace_period=max(1, round(epochs * FIRST_RUNG)),
        reduction_factor=REDUCTION,
    )
