"""Runs trials on Ray.

Ray Tune places the trials and asks the driver whether each one continues. Tune's retries,
checkpoints and snapshots are not used: a trial whose process crashed is submitted again by the
driver and resumes from its checkpoint, exactly as a trial of an earlier session does.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

# Tune reads these on import. They turn off its own loggers and display, its check for a metric in
# each result, its Ctrl-C handler and its snapshots.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "inf")

import ray
from ray import tune

from analysis.scorecard import Scorecard
from engine.budgets import Stop
from engine.driver import Driver
from engine.gpu_share import MOST_TRIALS, GPUShare
from engine.on_ray import answers, nodes, profiles
from engine.on_ray.cluster import RayDied, start, surviving
from engine.on_ray.node_watcher import NodeWatcher
from engine.on_ray.post_mortem import bad_input, of_the_machine
from engine.on_ray.tune_parts import Hearing, Proposals, SessionEnd, Verdicts, folder_of
from engine.options import Options
from engine.scoring import ToScore, scored
from record.outcomes import Outcomes
from trainables.config import TrialConfig
from trainables.problem import Problem
from trainables.profile import ProfileResult, room_gib
from trainables.trainable import TrialTrainable
from trainables.versions import versions

MANY = 10_000
"""Tune's limit on concurrent trials; never reached, as `Proposals` limits them to the slots."""


def _connection() -> str:
    """Returns the id of the connection to Ray, outside of which its objects are unknown."""
    return ray.get_runtime_context().get_worker_id()


def _numbers(asked: Sequence[ToScore]) -> list[int]:
    return [each.trial.number for each in asked]


class _Scorer:
    """Ray actor that scores trials."""

    def scored(self, *asked: Any) -> Outcomes | str:
        return scored(*asked)


class RayBackend:
    """Runs a study's trials on Ray; implements `engine.backend.Backend`.

    Args:
        problem: Data and task that the trials learn from.
        options: Options of the study, among them the resources and the cluster.
        gpus: GPUs of each trial, 0 to 1.
        trainable: Class that Tune runs as a trial; its `setup` takes the same arguments as
            `TrialTrainable.setup`.
    """

    def __init__(
        self,
        problem: Problem[Any],
        options: Options,
        gpus: float,
        trainable: type[tune.Trainable] = TrialTrainable,
    ) -> None:
        self.problem = problem
        self.trainable = trainable
        self.options = options
        self.gpus = gpus
        self.shared: tuple[str, ray.ObjectRef] | None = None
        self.scoring: dict[tuple[str, int], ray.ObjectRef] = {}
        self.scorer: tuple[str, Any] | None = None
        self.card_gib = 0.0

    def _data(self) -> ray.ObjectRef:
        """Puts the problem with its data into Ray's object store once, and returns the reference.

        Each node that runs trials holds one copy. After a restart of Ray it is put there again.
        """
        if self.shared is None or self.shared[0] != _connection():
            self.shared = (_connection(), ray.put(self.problem))
        return self.shared[1]

    def profile_all(
        self, configs: Sequence[TrialConfig], notify: Callable[[str], None]
    ) -> list[ProfileResult]:
        """Profiles configurations, on a whole GPU if trials use GPUs.

        Raises:
            RayDied: If Ray crashed more than `max_failures` times.
        """

        def all_of_them() -> list[ProfileResult]:
            data, cpus = self._data(), self.options.cpus_per_trial
            workers = self.options.workers_per_trial
            if self.gpus == 0:
                return profiles.side_by_side(configs, data, cpus, workers)
            return profiles.one_by_one(configs, data, cpus, 1.0, workers, notify)

        done = surviving(all_of_them, self.options.cluster, self.options.max_failures, notify)
        self.card_gib = min((each.card_gib for each in done if each.card_gib), default=0.0)
        return done

    def share_gpus(self, needed_gib: float | None) -> GPUShare:
        """Decides how many trials share a GPU, and uses that from now on.

        Args:
            needed_gib: Maximum GPU memory of a trial, in GiB; None if it was not measured.
        """
        start(self.options.cluster)
        card = self._card_gib() if needed_gib is not None else 0.0
        share = GPUShare(nodes.cores_a_gpu(), self.options.cpus_per_trial, needed_gib, card)
        self.gpus = share.gpus
        return share

    def _card_gib(self) -> float:
        """Returns the memory of the pre-flight's GPU, or without a pre-flight of any, in GiB."""
        if not self.card_gib:
            start(self.options.cluster)
            task = ray.remote(num_cpus=self.options.cpus_per_trial, num_gpus=1 / MOST_TRIALS)
            self.card_gib = ray.get(task(room_gib).remote(1.0, 1))
        return self.card_gib

    def concurrent_trials(self) -> int:
        """Returns how many trials can run at the same time, on a cluster once it has grown.

        The number is needed because Tune requests only one trial ahead from a searcher.
        """
        start(self.options.cluster)
        options = self.options
        return options.max_concurrent or nodes.slots(
            options.cpus_per_trial, self.gpus, options.workers_per_trial
        )

    def memory_of_a_trial(self) -> float:
        """Returns the memory available to each trial, in GiB: GPU memory if trials use a GPU."""
        if self.gpus:
            return self.gpus * self._card_gib()
        start(self.options.cluster)
        cpus = self.options.cpus_per_trial
        most = max(node.capacity(cpus, 0) for node in nodes.alive())
        together = max(1, min(most, self.concurrent_trials()))
        return ray.get(ray.remote(num_cpus=cpus)(room_gib).remote(0, together))

    def begin_scoring(self, asked: Sequence[ToScore], scorecard: Scorecard, idle: int) -> None:
        """Submits the scoring of trials, each with the CPU cores of one trial, which it waits for.

        Tune keeps the process of one idle slot, and with it the slot's cores. If that is the only
        one, trials are therefore scored one after the other by a process that asks for no cores.
        """
        is_kept = idle == 1 and self.options.cluster is None
        self._submit(asked, scorecard, self._scorer().scored if is_kept else self._scoring_task())

    def _submit(self, asked: Sequence[ToScore], scorecard: Scorecard, task: Any) -> None:
        """Submits the scoring of those trials whose scoring is not under way."""
        problem, cpus, here = self._data(), self.options.cpus_per_trial, _connection()
        for each in asked:
            if (here, each.trial.number) not in self.scoring:
                under_way = task.remote(each, scorecard, problem, cpus)
                self.scoring[here, each.trial.number] = under_way

    def _scoring_task(self) -> Any:
        return ray.remote(num_cpus=self.options.cpus_per_trial)(scored)

    def _scorer(self) -> Any:
        """Returns the actor that scores trials beside running ones; it ends with the backend."""
        if self.scorer is None or self.scorer[0] != _connection():
            self.scorer = (_connection(), ray.remote(num_cpus=0)(_Scorer).remote())
        return self.scorer[1]

    def score_all(self, asked: Sequence[ToScore], scorecard: Scorecard) -> list[Outcomes | str]:
        """Scores trials on the test split in parallel, or awaits those that `begin_scoring` began.

        What failed beside running trials, for want of memory for example, is tried once more.

        Raises:
            RayDied: If Ray crashed more than `max_failures` times.
        """

        def all_of_them() -> list[Outcomes | str]:
            early = {number for connection, number in self.scoring if connection == _connection()}
            found = self._scored(asked, scorecard)
            failed = [n for n, outcomes in found.items() if isinstance(outcomes, str)]
            again = [each for each in asked if each.trial.number in early.intersection(failed)]
            found |= self._scored(again, scorecard)
            return [found[each.trial.number] for each in asked]

        return surviving(all_of_them, self.options.cluster, self.options.max_failures, print)

    def _scored(self, asked: Sequence[ToScore], scorecard: Scorecard) -> dict[int, Outcomes | str]:
        """Scores trials in parallel, or awaits their scoring: number -> outcomes or a message."""
        self._submit(asked, scorecard, self._scoring_task())
        under_way = {n: self.scoring.pop((_connection(), n)) for n in _numbers(asked)}
        return {number: answers.outcomes(each) for number, each in under_way.items()}

    def run(self, driver: Driver) -> None:
        """Runs trials until none is left or the session is to end."""
        # The driver reports the error of a trial in one line instead.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        cluster, failures = self.options.cluster, self.options.max_failures

        def run() -> None:
            driver.place_again()
            self._fit(driver)

        try:
            surviving(run, cluster, failures, driver.notify)
            while driver.agenda.begin_alone():
                surviving(run, cluster, failures, driver.notify)
        except RayDied as error:
            driver.agenda.halt(Stop("system_error", str(error)))

    def _fit(self, driver: Driver) -> None:
        """Runs trials with Tune; the files that Tune writes are deleted afterwards."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            try:
                self._tuner(driver, scratch).fit()
            except Exception as error:  # Tune raises many kinds of error if it cannot write
                if (cause := of_the_machine(error)) is not None:
                    driver.agenda.abort(cause)
                elif (mistake := bad_input(error)) is not None:
                    raise mistake from None  # Tune wraps what the driver raises
                elif not driver.agenda.was_cut_short():
                    raise

    def _trainable(self, alone: bool) -> type[tune.Trainable]:
        cpus = self.options.cpus_per_trial
        gpus = 1.0 if alone and self.gpus else self.gpus
        trainable = tune.with_parameters(
            self.trainable, problem=[self._data()], cpus=cpus, gpus=gpus, versions=versions()
        )
        workers = self.options.workers_per_trial
        if alone:
            cpus, workers = nodes.largest(cpus, gpus).cpus, 0
        bundles = [{"CPU": cpus, "GPU": gpus}, *({"CPU": 1.0} for _ in range(workers))]
        return tune.with_resources(trainable, tune.PlacementGroupFactory(bundles))

    def _tuner(self, driver: Driver, scratch: str) -> tune.Tuner:
        watcher = NodeWatcher(
            count_slots=lambda: 1 if driver.agenda.alone else self.concurrent_trials(),
            notify=driver.notify,
            worker_failures=driver.worker_failures,
            many=self.options.cluster is not None,
        )
        timeout = 60 * self.options.trial_timeout
        return tune.Tuner(
            self._trainable(driver.agenda.alone),
            tune_config=tune.TuneConfig(
                search_alg=Proposals(driver, watcher),
                scheduler=Verdicts(driver),
                num_samples=-1,
                max_concurrent_trials=MANY,
                reuse_actors=True,
                trial_dirname_creator=folder_of,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                callbacks=[Hearing(driver, watcher, timeout)],
                stop=SessionEnd(driver),
                # By default Tune would make each trial save at its end, and count it as failed.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=0),
                verbose=0,
            ),
        )
