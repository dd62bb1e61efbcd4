"""Exports a study from its log to an Optuna storage, for optuna-dashboard and Optuna's analyses.

The export is never read back. Trials have the same numbers in Optuna as in the study. Finals are
included, with the parameters of the trial whose configuration they train again.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from engine.search_memory import MEMORY
from engine.space import contains
from record.state import StudyState
from record.trial import WITH_RESULT, Replicate, Status, Trial
from record.values import to_json
from trainables.parameter import Parameter

STATES: Mapping[Status, TrialState] = {
    "waiting": TrialState.WAITING,
    "running": TrialState.RUNNING,
    "paused": TrialState.RUNNING,
    "stopped": TrialState.RUNNING,
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "infeasible": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
"""Status of a trial -> its state in Optuna; an infeasible trial also violates a constraint."""


def export(state: StudyState, name: str, storage: BaseStorage) -> None:
    """Writes a study into an Optuna storage.

    Args:
        state: State of a study with at least one session.
        name: Name of the study in the storage.
        storage: An Optuna storage that has no study of this name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    session = state.session
    study = optuna.create_study(
        study_name=name, storage=storage, direction=session.direction, load_if_exists=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([session.objective])
    study.add_trials(frozen_trials(state))


def frozen_trials(state: StudyState) -> Iterator[FrozenTrial]:
    """Yields the study's trials as Optuna's frozen trials, by number."""
    space = distributions(state)
    for trial in state.trials():
        yield _frozen(trial, _drawn(state, trial), space, state.session.objective)


def distributions(state: StudyState) -> dict[str, BaseDistribution]:
    """Returns for each parameter the distribution of the first session that searched it.

    Optuna requires one distribution for all trials, and a later session can only narrow a space.
    """
    return {
        parameter.key: parameter.distribution
        for session in reversed(state.sessions)
        for parameter in map(Parameter.recorded, session.space)
    }


def _drawn(state: StudyState, trial: Trial) -> Mapping[str, Any]:
    """Returns the parameters of a trial; for a final, those of the trial that it replicates."""
    match trial.role:
        case Replicate(of, _) if not trial.drawn:
            return state.trial(of).drawn
    return trial.drawn


def _frozen(
    trial: Trial, drawn: Mapping[str, Any], space: Mapping[str, BaseDistribution], objective: str
) -> FrozenTrial:
    params = {key: v for key, v in drawn.items() if key in space and contains(space[key], v)}
    others = {key: value for key, value in drawn.items() if key not in params}
    state, moments = STATES[trial.status], _moments(trial)
    frozen = FrozenTrial(
        number=trial.number,
        trial_id=trial.number,
        state=state,
        value=trial.value(objective) if trial.status in WITH_RESULT else None,
        datetime_start=moments[0],
        datetime_complete=moments[1],
        params=params,
        distributions={key: space[key] for key in params},
        user_attrs=_attributes(trial, others),
        system_attrs={},
        intermediate_values=_intermediate(trial, objective),
    )
    if trial.status == "infeasible":
        frozen.set_constraint(MEMORY, 1.0)
    return frozen


def _intermediate(trial: Trial, objective: str) -> dict[int, float]:
    """Returns the objective of a trial by epoch."""
    return {
        report.epoch: report.metrics[objective]
        for report in trial.reports
        if objective in report.metrics
    }


def _moments(trial: Trial) -> tuple[datetime | None, datetime | None]:
    """Returns the start and end times of a trial, each None if its Optuna state has none.

    Times are in the local time zone and naive, as Optuna stores them.
    """
    state = STATES[trial.status]
    started = trial.started or trial.ended
    begun = None if state is TrialState.WAITING else started
    return _local(begun), _local(trial.ended) if state.is_finished() else None


def _local(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone().replace(tzinfo=None)


def _attributes(trial: Trial, others: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the facts that Optuna has no field for, and drawn values outside of the space."""
    return {
        "status": trial.status,
        "role": type(trial.role).__name__.lower(),
        **(asdict(trial.role) if isinstance(trial.role, Replicate) else {}),
        **({"reason": trial.reason} if trial.reason else {}),
        **({"node": trial.placements[-1].node} if trial.placements else {}),
        **{f"outside of the space: {key}": to_json(value) for key, value in others.items()},
    }
