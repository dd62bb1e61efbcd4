"""A study's log as Optuna has studies."""

from dataclasses import replace
from datetime import UTC, datetime

import optuna
import pytest
from happened import SPACE, at, began, ended, ended_session, placed, proposed, reported, story
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState
from recorded_space import recorded_space

from engine.optuna_export import distributions, export
from record.events import Event, Proposed, SessionBegan
from record.log import MemoryLog
from record.state import StudyState, fold
from record.trial import Replicate

WHERE: dict[str, BaseDistribution] = {
    "width": IntDistribution(16, 64, log=True),
    "learning_rate": FloatDistribution(0.001, 1.0, log=True),
}


def known(*events: Event) -> StudyState:
    """A study as its log has it."""
    log = MemoryLog()
    log.append(events)
    return fold(log.read())


def exported(state: StudyState) -> optuna.Study:
    storage = optuna.storages.InMemoryStorage()
    export(state, "s", storage)
    return optuna.load_study(study_name="s", storage=storage)


def trials(state: StudyState) -> list[FrozenTrial]:
    return exported(state).get_trials()


def utc(moment: datetime | None) -> datetime | None:
    """Optuna's local time."""
    return None if moment is None else moment.astimezone(UTC)


def test_all_that_is_known_of_a_study_is_there() -> None:
    study = exported(known(*story()))
    baseline, pruned, failed, final = study.get_trials()
    assert study.direction.name == "MAXIMIZE"
    assert study.metric_names == ["validation/r2"]
    assert [each.number for each in study.get_trials()] == [0, 1, 2, 3]
    assert baseline.state is final.state is TrialState.COMPLETE
    assert (pruned.state, failed.state) == (TrialState.PRUNED, TrialState.FAIL)
    assert (baseline.value, pruned.value, final.value) == (0.75, 0.5, 0.5)
    assert baseline.intermediate_values == {1: 0.5, 2: 0.5, 3: 0.75}
    assert pruned.intermediate_values == {1: 0.5, 2: 0.5}
    assert pruned.params == {"width": 33, "learning_rate": 0.05}
    assert pruned.distributions == WHERE
    assert failed.user_attrs["reason"] == "so it goes"
    assert [each.user_attrs["role"] for each in study.get_trials()] == [
        *("baseline", "searched", "searched", "replicate")
    ]
    assert (utc(pruned.datetime_start), utc(pruned.datetime_complete)) == (at(1.5), at(101))


def test_a_final_has_the_parameters_of_the_trial_that_it_trains_again() -> None:
    event = replace(proposed(3, Replicate(0, 7)), drawn={})
    events = [event if isinstance(e, Proposed) and e.number == 3 else e for e in story()]
    final = trials(known(*events))[3]
    assert final.params == {"width": 32, "learning_rate": 0.1}
    assert {"of": 0, "seed": 7, "status": "finished"}.items() <= final.user_attrs.items()


def test_trials_without_an_end_have_none_in_optuna() -> None:
    state = known(
        began(),
        *(proposed(number) for number in range(3)),
        placed(1),
        reported(1, 1),
        ended(2, "infeasible"),
        ended_session(1, "KILLED"),
    )
    waiting, stopped, infeasible = trials(state)
    assert (waiting.state, waiting.datetime_start) == (TrialState.WAITING, None)
    assert (stopped.state, stopped.datetime_complete) == (TrialState.RUNNING, None)
    assert stopped.intermediate_values == {1: 0.5}
    assert stopped.user_attrs["status"] == "stopped"
    assert (infeasible.state, infeasible.constraints) == (TrialState.PRUNED, {"memory": 1.0})
    assert utc(infeasible.datetime_start) == utc(infeasible.datetime_complete) == at(102)


def test_what_lies_outside_of_the_space_is_an_attribute() -> None:
    event = replace(proposed(0), drawn={"width": 999, "depth": 3, "learning_rate": 0.1})
    [trial] = trials(known(began(), event))
    assert trial.params == {"learning_rate": 0.1}
    outside = {"outside of the space: width": 999, "outside of the space: depth": 3}
    assert outside.items() <= trial.user_attrs.items()


def test_a_space_that_became_narrower_is_the_first_one() -> None:
    narrow = {"name": "IntDistribution", "attributes": {"low": 16, "high": 20, "step": 1}}
    state = known(began(1), proposed(0), ended_session(1, "KILLED"))
    later = replace(began(2), space=({**SPACE[0], "distribution": narrow},))
    state.apply(later)
    assert distributions(state) == WHERE
    assert trials(state)[0].params["width"] == 32


def test_a_space_is_read_as_its_study_writes_it() -> None:
    space = recorded_space(baseline=False)
    state = StudyState()
    state.apply(replace(began(), space=tuple(space.searched())))
    log = MemoryLog()
    log.append(state.sessions)
    found = distributions(fold(log.read()))
    assert found == {each.key: each.distribution for each in space.parameters}
    assert isinstance(found["family"], CategoricalDistribution)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_better_of_two_trials_is_the_better_one(direction: str) -> None:
    events = [
        replace(e, direction=direction) if isinstance(e, SessionBegan) else e for e in story()
    ]
    best = exported(known(*events)).best_trial.number
    assert best == (0 if direction == "maximize" else 3)
