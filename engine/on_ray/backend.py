"""Runs trials on Ray.

Tune places the trials, and asks the driver what is to become of them; it retries none, and its
checkpoints and snapshots are not used. A trial whose process died is given again, by the driver,
and goes on from its checkpoint as one of an earlier session does: there is one way to continue.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

# Read when Tune is imported: no loggers and no display of Tune's own beside ours, no complaint
# about a result without a metric, no handler of Ctrl-C before ours, no snapshots.
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
from engine.on_ray.post_mortem import of_the_machine
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
"""More trials at once than there will be; `Proposals` gives no more than there is room for."""


class RayBackend:
    """Runs a study's trials on Ray; see `engine.backend.Backend`.

    Args:
        problem: What trials learn from.
        options: Scheduler and resources; which cluster.
        gpus: Share of a GPU that each trial has.
        trainable: What Tune runs as a trial; takes what `TrialTrainable.setup` takes.
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
        self.card_gib = 0.0

    def _data(self) -> ray.ObjectRef:
        """The problem, data and all, put once into the object store, of which each node that runs
        trials takes one copy; put again where Ray was started again."""
        driver = ray.get_runtime_context().get_worker_id()
        if self.shared is None or self.shared[0] != driver:
            self.shared = (driver, ray.put(self.problem))
        return self.shared[1]

    def profile_all(
        self, configs: Sequence[TrialConfig], notify: Callable[[str], None]
    ) -> list[ProfileResult]:
        """Profiles configurations, on a whole GPU where trials have a share of one; see
        `engine.on_ray.profiles`.

        Raises:
            RayDied: If Ray does not stay alive.
        """

        def all_of_them() -> list[ProfileResult]:
            data, cpus = self._data(), self.options.cpus_per_trial
            if self.gpus == 0:
                return profiles.side_by_side(configs, data, cpus)
            return profiles.one_by_one(configs, data, cpus, 1.0, notify)

        done = surviving(all_of_them, self.options.cluster, self.options.max_failures, notify)
        self.card_gib = min((each.card_gib for each in done if each.card_gib), default=0.0)
        return done

    def share_gpus(self, needed_gib: float | None) -> GPUShare:
        """Decides how many trials share a GPU.

        Args:
            needed_gib: What a trial takes of it at most; None: not measured.
        """
        start(self.options.cluster)
        card = self._card_gib() if needed_gib is not None else 0.0
        share = GPUShare(nodes.cores_a_gpu(), self.options.cpus_per_trial, needed_gib, card)
        self.gpus = share.gpus
        return share

    def _card_gib(self) -> float:
        """Memory of the GPU of the pre-flight, or else of any."""
        if not self.card_gib:
            start(self.options.cluster)
            task = ray.remote(num_cpus=self.options.cpus_per_trial, num_gpus=1 / MOST_TRIALS)
            self.card_gib = ray.get(task(room_gib).remote(1.0, 1))
        return self.card_gib

    def concurrent_trials(self) -> int:
        """How many trials run at once, on a cluster once it has grown. Tune itself would only ever
        ask a searcher for one ahead."""
        start(self.options.cluster)
        return self.options.max_concurrent or nodes.slots(self.options.cpus_per_trial, self.gpus)

    def memory_of_a_trial(self) -> float:
        """GiB that there are for each trial on a node that takes trials; see `room_gib`."""
        if self.gpus:
            return self.gpus * self._card_gib()
        start(self.options.cluster)
        cpus = self.options.cpus_per_trial
        most = max(node.capacity(cpus, 0) for node in nodes.alive())
        together = max(1, min(most, self.concurrent_trials()))
        return ray.get(ray.remote(num_cpus=cpus)(room_gib).remote(0, together))

    def score_all(self, asked: Sequence[ToScore], scorecard: Scorecard) -> list[Outcomes | str]:
        """Scores trials on the test split, with the cores of a trial each.

        Raises:
            RayDied: If Ray does not stay alive.
        """
        cpus = self.options.cpus_per_trial

        def all_of_them() -> list[Outcomes | str]:
            problem = self._data()
            task = ray.remote(num_cpus=cpus)(scored)
            under_way = [task.remote(each, scorecard, problem, cpus) for each in asked]
            return [answers.outcomes(each) for each in under_way]

        return surviving(all_of_them, self.options.cluster, self.options.max_failures, print)

    def run(self, driver: Driver) -> None:
        """Runs trials until none is left or the session is to end."""
        # What went wrong in a trial is shown in a line.
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
        """Has Tune run trials. Nobody needs what Tune itself writes, afterwards."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            try:
                self._tuner(driver, scratch).fit()
            except Exception as error:  # where Tune itself cannot write, it stumbles in many ways
                if (cause := of_the_machine(error)) is not None:
                    driver.agenda.abort(cause)
                elif not driver.agenda.was_cut_short():
                    raise

    def _trainable(self, alone: bool) -> type[tune.Trainable]:
        cpus = self.options.cpus_per_trial
        gpus = 1.0 if alone and self.gpus else self.gpus
        trainable = tune.with_parameters(
            self.trainable, problem=[self._data()], cpus=cpus, gpus=gpus, versions=versions()
        )
        resources: dict[str, float] = {"cpu": cpus, "gpu": gpus}
        if alone:
            node = nodes.largest(cpus, gpus)
            resources = {"cpu": node.cpus, "gpu": gpus}
        return tune.with_resources(trainable, resources)

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
                # By default Tune would have each trial save at its end, and take it for failed.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=0),
                verbose=0,
            ),
        )
