"""Adapters that connect Ray Tune to the driver: searcher, scheduler, callback and stopper."""

import time
from typing import Any

import ray
from ray import tune
from ray.exceptions import ActorUnavailableError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from engine.driver import Driver, Nothing, Verdict
from engine.on_ray.cluster import signals_masked
from engine.on_ray.node_watcher import NodeWatcher
from engine.on_ray.post_mortem import (
    NODE_DIED,
    Process,
    error_of,
    last_line,
    last_log,
    process_died,
)
from trainables.device import ran_out_of_memory
from trainables.trial_spec import trial_folder

POLL = 0.5
"""Seconds between two checks of nodes, silent trials and buffered reports.

Tune itself takes ten or more steps per second.
"""


def folder_of(trial: TuneTrial) -> str:
    """Returns the name of a trial's folder in Tune's scratch folder."""
    return f"{trial_folder(_number(trial))}-{trial.trial_id}"


def _number(trial: TuneTrial) -> int:
    return trial.config["trial"].number


class _OfThisDriver:
    """Base class that pickles as empty.

    Tune pickles its parts for a restore that this project does not use, because a study's record
    is its log and its checkpoints.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Proposals(_OfThisDriver, Searcher):
    """Tune searcher that gets its trials from the driver."""

    def __init__(self, driver: Driver, watcher: NodeWatcher) -> None:
        super().__init__()
        self.driver = driver
        self.watcher = watcher

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        # A cluster may have lost the nodes for another trial when there is none left to begin.
        slots = max(1, self.watcher.slots)
        if len(self.driver.live) >= slots and not self.driver.agenda.should_stop():
            return None  # no slot is free, as after most results
        return self._next()

    @signals_masked()
    def _next(self) -> dict[str, Any] | str | None:
        trial = self.driver.next()
        if isinstance(trial, Nothing):
            return None if trial is Nothing.WAIT else Searcher.FINISHED
        return {"trial": self.driver.begin(trial, self.watcher.slots)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Does nothing: `Hearing` handles it, because it also gets the trial object."""

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: Tune's restore is not used."""


class Verdicts(_OfThisDriver, FIFOScheduler):
    """Tune scheduler that passes each message to the driver and returns its verdict."""

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self.driver = driver

    @signals_masked()
    def on_trial_result(
        self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]
    ) -> str:
        verdict = self.driver.heard(result["message"])
        return TrialScheduler.CONTINUE if verdict is Verdict.GO_ON else TrialScheduler.STOP


class Hearing(_OfThisDriver, tune.Callback):
    """Tune callback that passes starts, ends and errors of trials to the driver.

    Args:
        driver: Driver of the session.
        watcher: Node watcher, which is polled between Tune's steps.
        timeout: Seconds without a sign of life after which a trial is stopped as failed.
    """

    def __init__(self, driver: Driver, watcher: NodeWatcher, timeout: float) -> None:
        self.driver = driver
        self.watcher = watcher
        self.timeout = timeout
        self.processes: dict[str, Process] = {}
        self.running: dict[str, TuneTrial] = {}
        self.stuck: set[str] = set()
        self.looked = 0.0

    @signals_masked()
    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self.running[trial.trial_id] = trial
        self.driver.placed(_number(trial))

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        self.processes[trial.trial_id] = Process(result["node_ip"], result["pid"])

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self.running.pop(trial.trial_id, None)
        self.processes.pop(trial.trial_id, None)

    @signals_masked()
    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        number = _number(trial)
        self.running.pop(trial.trial_id, None)
        error, text = error_of(trial)
        words = last_line(text)
        process = self.processes.pop(trial.trial_id, None)
        cause = error.cause if isinstance(error, RayTaskError) else error
        if trial.trial_id in self.stuck:
            minutes = f"{self.timeout / 60:g} minutes"
            reason = f"no epoch for {minutes}: stopped (--trial-timeout)"
            self.driver.failed(number, reason, last_log(process, text))
        elif "running low on memory" in text or ran_out_of_memory(cause or Exception(text)):
            self.driver.out_of_memory(number, words)
        elif isinstance(cause, OSError):
            self.driver.system_error(number, cause)
        elif NODE_DIED in text:
            self.driver.node_lost(number)
        elif isinstance(error, ActorUnavailableError) and self.watcher.many:
            self.watcher.lost(number, process.ip if process else None)
            self.driver.node_lost(number, "its process cannot be reached")
        elif process_died(error, text):
            self.driver.worker_failed(number, words, self._log(error, process, text))
        else:
            self.driver.failed(number, words, self._log(error, process, text))

    def _log(self, error: Exception | None, process: Process | None, text: str) -> str:
        """Returns the last output of a trial's process; empty if the process is unreachable."""
        return "" if isinstance(error, ActorUnavailableError) else last_log(process, text)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        if time.monotonic() - self.looked >= POLL:
            self.looked = time.monotonic()
            self._look()

    @signals_masked()
    def _look(self) -> None:
        """Polls the nodes, writes overdue reports, and kills trials without a sign of life."""
        self.watcher.poll()
        self.driver.idle()
        silent = self.driver.silent(self.timeout)
        for trial in self.running.values():
            actor = trial.temporary_state.ray_actor
            is_running = trial.status == TuneTrial.RUNNING and trial.trial_id not in self.stuck
            if is_running and actor is not None and _number(trial) in silent:
                self.stuck.add(trial.trial_id)
                ray.kill(actor)  # a stuck trial would not react to a request to stop


class SessionEnd(_OfThisDriver, tune.Stopper):
    """Tune stopper that ends the run once the session stops and no trial is running.

    Trials that still wait for a slot do not keep it going.
    """

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.driver.agenda.should_stop() and not self.driver.is_any_placed()
