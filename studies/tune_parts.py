"""What Tune is given: where its trials come from, who hears of them, and what stops them."""

import time
from pathlib import PurePosixPath
from typing import Any

import ray
from ray import tune
from ray.exceptions import ActorUnavailableError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from studies.checkpoints import DEPTH
from studies.ledger import Ledger
from studies.options import Options
from studies.post_mortem import NODE_DIED, Place, error_of, last_line, last_log, process_died
from studies.ray_cluster import undisturbed
from studies.roll import Roll
from studies.rungs import REDUCTION, first_rung
from trainables.device import ran_out_of_memory
from trainables.trial_spec import TrialSpec, trial_folder


def folder_of(trial: TuneTrial) -> str:
    """Name of a trial's folder in its session's."""
    spec = _spec(trial)
    return trial_folder(spec.number, spec.attempt)


def _spec(trial: TuneTrial) -> TrialSpec:
    return trial.config["trial"]


class _OfThisDriver:
    """Tune pickles its parts for a restore that this project does not use: the record of a study
    is its ledger, Optuna's journal, MLflow and the checkpoints. They stay out of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Proposals(_OfThisDriver, Searcher):
    """The ledger as Tune's source of trials."""

    def __init__(self, ledger: Ledger, roll: Roll) -> None:
        super().__init__(metric=ledger.objective, mode="max")
        self.ledger = ledger
        self.roll = roll

    @undisturbed()
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if len(self.ledger.live) >= self.roll.places and not self.ledger.should_stop():
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
        """Nothing: `Reports` hears of it with the trial itself in hand."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see `_OfThisDriver`."""


class Reports(_OfThisDriver, tune.Callback):
    """What Tune says of the trials, passed on to the ledger.

    Args:
        ledger: Hears of them.
        roll: Is looked at on the way.
        timeout: Seconds without a sign of life after which a trial is given up.
    """

    def __init__(self, ledger: Ledger, roll: Roll, timeout: float) -> None:
        self.ledger = ledger
        self.roll = roll
        self.timeout = timeout
        self.places: dict[str, Place] = {}
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
        self.places[trial.trial_id] = Place(result["node_ip"], result["pid"])
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
        error, text = error_of(trial)
        words = last_line(text)
        place = self.places.pop(trial.trial_id, None)
        cause = error.cause if isinstance(error, RayTaskError) else error
        if trial.trial_id in self.stuck:
            minutes = f"{self.timeout / 60:g} minutes"
            reason = f"no epoch for {minutes}: stopped (--trial-timeout)"
            self.ledger.failed(number, reason, last_log(place, text))
        elif "running low on memory" in text or ran_out_of_memory(cause or Exception(text)):
            self.ledger.out_of_memory(number, words)
        elif isinstance(cause, OSError):
            self.ledger.leave(number)
            self.ledger.ended(number)
            self.ledger.trouble(cause)
        elif NODE_DIED in text:
            self.ledger.moved(number)
        elif isinstance(error, ActorUnavailableError) and self.roll.many:
            self.roll.lost(number, place.ip if place else None)
            self.ledger.moved(number, "its process cannot be reached")
        elif process_died(error, text):
            self.ledger.died(number, words, self._log(error, place, text))
        else:
            self.ledger.failed(number, words, self._log(error, place, text))

    def _log(self, error: Exception | None, place: Place | None, text: str) -> str:
        """What the process wrote last; nobody can be asked where it cannot be reached."""
        return "" if isinstance(error, ActorUnavailableError) else last_log(place, text)

    @undisturbed()
    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self.roll.look()
        for trial in self.running.values():
            if trial.status != TuneTrial.RUNNING or trial.trial_id in self.stuck:
                continue
            heard = self.ledger.records[_spec(trial).number].heard
            actor = trial.temporary_state.ray_actor
            if time.monotonic() - heard > self.timeout and actor is not None:
                self.stuck.add(trial.trial_id)
                ray.kill(actor)  # what it is stuck in would not let it stop by itself


class SessionEnd(_OfThisDriver, tune.Stopper):
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


def scheduler(options: Options, ledger: Ledger) -> TrialScheduler:
    if options.scheduler == "none" or not ledger.search.stops_early:
        return FIFOScheduler()
    epochs = ledger.search.space.epochs
    return _SparesBaselines(
        time_attr="epoch",
        metric=ledger.objective,
        mode="max",
        max_t=epochs,
        grace_period=first_rung(epochs),
        reduction_factor=REDUCTION,
    )
