"""What Tune is given: where its trials come from, who hears of them, and what stops them."""

from pathlib import PurePosixPath
from typing import Any

import ray
from ray import tune
from ray.exceptions import ActorUnavailableError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from studies.agenda import Agenda
from studies.checkpoints import DEPTH
from studies.options import Options
from studies.post_mortem import NODE_DIED, Place, error_of, last_line, last_log, process_died
from studies.ray_cluster import undisturbed
from studies.roll import Roll
from studies.rungs import REDUCTION, first_rung
from studies.trials import Trials
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
    is its log and the checkpoints. They stay out of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Proposals(_OfThisDriver, Searcher):
    """Tune's source of trials."""

    def __init__(self, trials: Trials, roll: Roll) -> None:
        super().__init__(metric=trials.objective, mode="max")
        self.trials = trials
        self.roll = roll

    @undisturbed()
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        agenda = self.trials.agenda
        if len(self.trials.live) >= self.roll.places and not agenda.should_stop():
            return None
        trial = self.trials.next()
        if trial is None:
            # One that is under way may die and be given again.
            waiting = self.trials.is_under_way() and not agenda.should_stop()
            return None if waiting else Searcher.FINISHED
        return {"trial": self.trials.begin(trial)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: `Reports` hears of it with the trial itself in hand."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see `_OfThisDriver`."""


class Reports(_OfThisDriver, tune.Callback):
    """What Tune says of its trials, passed on.

    Args:
        trials: Hears of them.
        roll: Is looked at on the way.
        timeout: Seconds without a sign of life after which a trial is given up.
    """

    def __init__(self, trials: Trials, roll: Roll, timeout: float) -> None:
        self.trials = trials
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
        self.trials.placed(_spec(trial).number)

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
            self.trials.failed(number, result["failure"])
        elif "out_of_memory" in result:
            self.trials.out_of_memory(number, result["out_of_memory"])
        else:
            self.trials.epoch(number, result)

    @undisturbed()
    def on_trial_save(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        assert trial.checkpoint is not None
        name = "/".join(PurePosixPath(trial.checkpoint.path).parts[-DEPTH:])
        self.trials.saved(_spec(trial).number, name)

    @undisturbed()
    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self.running.pop(trial.trial_id, None)
        self.trials.completed(_spec(trial).number)

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
            self.trials.failed(number, reason, last_log(place, text))
        elif "running low on memory" in text or ran_out_of_memory(cause or Exception(text)):
            self.trials.out_of_memory(number, words)
        elif isinstance(cause, OSError):
            self.trials.leave(number)
            self.trials.completed(number)
            self.trials.agenda.trouble(cause)
        elif NODE_DIED in text:
            self.trials.moved(number)
        elif isinstance(error, ActorUnavailableError) and self.roll.many:
            self.roll.lost(number, place.ip if place else None)
            self.trials.moved(number, "its process cannot be reached")
        elif process_died(error, text):
            self.trials.died(number, words, self._log(error, place, text))
        else:
            self.trials.failed(number, words, self._log(error, place, text))

    def _log(self, error: Exception | None, place: Place | None, text: str) -> str:
        """What the process wrote last; nobody can be asked where it cannot be reached."""
        return "" if isinstance(error, ActorUnavailableError) else last_log(place, text)

    @undisturbed()
    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self.roll.look()
        self.trials.look()
        silent = self.trials.silent(self.timeout)
        for trial in self.running.values():
            actor = trial.temporary_state.ray_actor
            is_running = trial.status == TuneTrial.RUNNING and trial.trial_id not in self.stuck
            if is_running and actor is not None and _spec(trial).number in silent:
                self.stuck.add(trial.trial_id)
                ray.kill(actor)  # what it is stuck in would not let it stop by itself


class SessionEnd(_OfThisDriver, tune.Stopper):
    """Ends the session: trials that run are left after their epoch, and its checkpoint."""

    def __init__(self, trials: Trials) -> None:
        self.trials = trials

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if not self.trials.agenda.should_stop() or result.get("done"):
            return False
        self.trials.leave(result["config"]["trial"].number)
        return True

    def stop_all(self) -> bool:
        """Once nothing is left but trials that wait for their place."""
        return self.trials.agenda.should_stop() and not self.trials.is_under_way(placed=True)


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


def scheduler(options: Options, agenda: Agenda) -> TrialScheduler:
    """Tune's scheduler: asynchronous successive halving, or none."""
    if options.scheduler == "none" or not agenda.proposer.stops_early:
        return FIFOScheduler()
    epochs = agenda.proposer.space.epochs
    return _SparesBaselines(
        time_attr="epoch",
        metric=agenda.state.session.objective,
        mode="max",
        max_t=epochs,
        grace_period=first_rung(epochs),
        reduction_factor=REDUCTION,
    )
