"""Runs trials, and the heavy loops of the data sets, on Ray."""

import logging
import os
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

# Read when Ray is imported: no loggers and no display of Tune's own beside ours, no complaint
# about a result that carries a failure instead of the metric.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")

import ray
from ray import tune
from ray.exceptions import RayTaskError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from studies.ledger import Ledger
from studies.options import Options
from studies.search import Proposal
from trainables import checkpoint
from trainables.stepper import TaskFactory, TrialSpec
from trainables.trial import Trial

Item = TypeVar("Item")
Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parent.parent

FIRST_RUNG = 1 / 5
"""Share of its epochs after which a trial is first looked at; then after 2/5 and 4/5."""

REDUCTION = 2
"""At each rung the better half goes on. With few trials a third would leave only the baselines."""

RETRIES = 1
"""Times that a trial whose process died is tried again, from its last checkpoint."""


TASKS_AHEAD = 4
"""Tasks of `ray_map` a core: enough that none waits for the slowest of them."""


def start() -> None:
    """Starts Ray on this machine, unless it runs."""
    if ray.is_initialized():
        return
    # Workers import by this path, not by the driver's `sys.path` (see studies/__init__.py).
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    # Ray would otherwise write a token into the home folder.
    os.environ.setdefault("RAY_AUTH_TOKEN", uuid.uuid4().hex)
    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=True,
    )


def ray_map(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterable[Result]:
    """The builtin ``map``, a Ray task an item; see `datasets.parallel.ParallelMap`.

    A window of tasks is under way at once: items and results of gigabytes in all do not fill the
    object store, and little work is left running when one item fails.

    Raises:
        Exception: What the function raised, as itself.
    """
    start()
    task = ray.remote(num_cpus=1)(function)
    waiting = iter(items)
    window = TASKS_AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    under_way = deque(task.remote(item) for item in islice(waiting, window))
    while under_way:
        try:
            result = ray.get(under_way.popleft())
        except RayTaskError as error:
            raise error.cause from None
        under_way.extend(task.remote(item) for item in islice(waiting, 1))
        yield result


def run_trials(
    ledger: Ledger,
    make_task: TaskFactory,
    sessions: Path,
    session: str,
    options: Options,
    gpus: float,
) -> None:
    """Runs trials until the ledger has none left or its time is up.

    Args:
        ledger: Gives the trials and hears of them.
        make_task: See `TaskFactory`; put once into the object store.
        sessions: Folder of all sessions' checkpoints.
        session: Name of this one.
        options: Scheduler and resources.
        gpus: GPUs of each trial.
    """
    start()
    # What went wrong in a trial is shown in one line; its traceback lies in the trial's folder.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    shared = tune.with_parameters(
        Trial, make_task=make_task, cpus=options.cpus_per_trial, gpus=gpus
    )
    resources = {"cpu": options.cpus_per_trial, "gpu": gpus}
    tune.Tuner(
        tune.with_resources(shared, resources),
        tune_config=tune.TuneConfig(
            search_alg=_Proposals(ledger, sessions),
            scheduler=_scheduler(options, ledger),
            num_samples=-1,
            max_concurrent_trials=options.max_concurrent or _concurrent(options, gpus),
            reuse_actors=True,
            trial_dirname_creator=_trial_folder,
        ),
        run_config=_run_config(ledger, sessions, session),
    ).fit()


def _run_config(ledger: Ledger, sessions: Path, session: str) -> tune.RunConfig:
    """Who hears of the trials, when they end and what is kept of them."""
    return tune.RunConfig(
        name=session,
        storage_path=str(sessions.resolve()),
        callbacks=[_Reports(ledger)],
        stop=_Deadline(ledger),
        failure_config=tune.FailureConfig(max_failures=RETRIES),
        checkpoint_config=tune.CheckpointConfig(
            num_to_keep=checkpoint.KEPT, checkpoint_frequency=1, checkpoint_at_end=False
        ),
        verbose=0,
    )


def _concurrent(options: Options, gpus: float) -> int:
    """As many trials as fit. Tune itself would only ever ask a searcher for one ahead."""
    there = ray.cluster_resources()
    fit = there.get("CPU", 1) // options.cpus_per_trial
    if gpus > 0:
        fit = min(fit, there.get("GPU", 0) // gpus)
    return int(fit)


def _trial_folder(trial: TuneTrial) -> str:
    return checkpoint.trial_folder(_spec(trial).number)


def _spec(trial: TuneTrial) -> TrialSpec:
    return trial.config["trial"]


class _OfThisDriver:
    """Tune pickles its parts for a restore that this project does not use: the record of a study
    is Optuna's journal, MLflow and the checkpoints. The ledger stays out of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "ledger"}


class _Proposals(_OfThisDriver, Searcher):
    """The ledger as Tune's source of trials."""

    def __init__(self, ledger: Ledger, sessions: Path) -> None:
        super().__init__(metric=ledger.objective, mode="max")
        self.ledger = ledger
        self.sessions = sessions

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # pyright: ignore[reportIncompatibleMethodOverride]
        proposal = self.ledger.next()
        if proposal is None:
            return Searcher.FINISHED
        resume = checkpoint.latest(self.sessions, proposal.number)
        spec = TrialSpec(proposal.number, proposal.config, proposal.baseline, resume)
        return {"trial": spec}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: `_Reports` hears of it with the trial itself in hand."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see `_OfThisDriver`."""


class _Reports(_OfThisDriver, tune.Callback):
    """What Tune says of the trials, passed on to the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        spec = _spec(trial)
        self.ledger.started(Proposal(spec.number, spec.config, spec.baseline))

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        if "failure" in result:
            self.ledger.failed(_spec(trial).number, result["failure"])
        else:
            self.ledger.epoch(_spec(trial).number, result)

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self.ledger.ended(_spec(trial).number)

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self.on_trial_start(iteration, trials, trial)  # it may have died before it began
        self.ledger.failed(_spec(trial).number, _last_words(trial))


def _last_words(trial: TuneTrial) -> str:
    """The last line of a trial's error.

    Read where the driver wrote it: `TuneTrial.get_error` reads the copy in the storage, which may
    not be there yet.
    """
    text = Path(trial.error_file).read_text() if trial.error_file else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "the trial's process died without a word"


class _Deadline(_OfThisDriver, tune.Stopper):
    """Ends the session when its time is up; running trials stay unfinished."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.ledger.out_of_time()


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
