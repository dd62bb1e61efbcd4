"""Which configurations are trained again, on which seeds, in which order."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest
from happened import UNIX_MS, at, began, ended_session, placed
from old_proposals import RECORDINGS, recorded
from recorded_space import RecordedConfig, recorded_space

from engine.replicates import Replicates, finalists
from record.events import Ended, Proposed
from record.state import StudyState
from record.trial import Baseline, Replicate, Report, Searched

DEFAULT = asdict(RecordedConfig())


def search(*values: float | None, **began_as: Any) -> StudyState:
    """A search whose trials reached these values; None: it failed. Trials 0 to 4 are baselines,
    of which 0 is the default."""
    state = StudyState()
    state.apply(began(**began_as))
    for number, value in enumerate(values):
        role = Baseline(number) if number < 5 else Searched(number)
        propose(state, role, {"width": 64 + number} if number else {})
        end(state, number, value)
    return state


def propose(state: StudyState, role: Any, config: Mapping[str, Any]) -> int:
    number = state.next_number
    state.apply(Proposed(number, DEFAULT | dict(config), {}, role, at(number)))
    state.apply(placed(number))
    return number


def end(state: StudyState, number: int, value: float | None) -> None:
    status = "failed" if value is None else "finished"
    reports = () if value is None else (Report(1, UNIX_MS, 0.25, {"validation/r2": value}),)
    state.apply(Ended(number, status, at(number), "", reports))


def numbers(state: StudyState, count: int) -> list[int]:
    return [trial.number for trial in finalists(state, recorded_space(False), count)]


@pytest.mark.parametrize("name", RECORDINGS)
def test_finals_are_what_they_were_of_old(name: str) -> None:
    """In the recorded studies: of which trials, on which seeds, with which numbers, in which
    order, also where the search went on afterwards."""
    state, proposer, count = StudyState(), None, 0
    space = recorded_space(RECORDINGS[name].baseline)
    state.apply(began(1))
    for happening in recorded(name):
        match happening:
            case {"proposed": number, "of": of, "config": config}:
                proposer = proposer or Replicates(state, space, count=2, seeds=3)
                proposal = proposer.propose(at(number))
                assert (proposal.number, proposal.role) == (number, Replicate(of, config["seed"]))
                assert proposal.config == DEFAULT | config
                state.apply(proposal)
                count += 1
            case {"proposed": number, "role": role, "config": config}:
                proposer = None
                kind = Baseline if role == "baseline" else Searched
                propose(state, kind(state.next_index), config)
            case {"ended": number, "state": status, "value": value}:
                known = {"validation/r2": value}
                reports = () if value is None else (Report(1, UNIX_MS, 0.25, known),)
                state.apply(Ended(number, status, at(number), "", reports))
    assert count >= 9
    proposer = Replicates(state, space, count=2, seeds=3)
    assert proposer.total == len(proposer.trials()) == count, "all of them were begun"


def test_the_best_and_the_default_are_trained_seed_by_seed() -> None:
    state = search(0.1, 0.2, 0.9, 0.3, None, 0.8)
    proposer = Replicates(state, recorded_space(False), count=2, seeds=2)
    assert [trial.number for trial in proposer.finalists] == [2, 5, 0]
    assert proposer.text() == (
        "finals: the configurations of trials 2, 5, 0, each trained again with 2 fresh seeds"
    )
    roles = []
    while len(proposer.trials()) < proposer.total:
        state.apply(proposer.propose(at(100)))
        roles.append(state.trials()[-1].role)
    assert roles == [Replicate(of, seed) for seed in (1, 2) for of in (2, 5, 0)]
    assert state.trial(6).config == {**state.trial(2).config, "seed": 1}
    assert state.trial(6).drawn == {}


def test_where_less_is_better_the_least_are_the_best() -> None:
    assert numbers(search(0.4, 0.2, 0.9, direction="minimize"), 1) == [1, 0]


def test_a_default_among_the_best_is_there_once() -> None:
    assert numbers(search(0.9, 0.2, 0.3), 2) == [0, 2]


def test_a_default_without_result_is_not_there() -> None:
    assert numbers(search(None, 0.2, 0.3), 1) == [2]


def test_of_trials_with_one_configuration_the_best_stands_for_all() -> None:
    state = search(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    end(state, propose(state, Searched(6), {"width": 69}), 0.7)
    end(state, propose(state, Searched(7), {"width": 69}), 0.65)
    assert numbers(state, 2) == [6, 4, 0]


def test_of_equally_good_configurations_the_earlier_comes_first() -> None:
    assert numbers(search(0.1, 0.5, 0.5, 0.5), 2) == [1, 2, 0]


def test_finals_go_on_with_what_was_begun_and_count_what_is_none_any_more() -> None:
    state = search(0.1, 0.9, 0.2)
    before = Replicates(state, recorded_space(False), count=1, seeds=1)
    for _ in range(2):
        state.apply(before.propose(at(50)))
    end(state, 3, 0.7)
    end(state, 4, 0.6)
    assert before.best() == state.trial(3)
    state.apply(ended_session(1))
    state.apply(began(2))
    end(state, propose(state, Searched(3), {"width": 99}), 0.95)
    proposer = Replicates(state, recorded_space(False), count=1, seeds=2)
    assert [trial.number for trial in proposer.finalists] == [5, 0]
    assert proposer.total == 5, "of trial 1 on seed 1, and of 5 and 0 on seeds 1 and 2"
    roles = []
    while len(proposer.trials()) < proposer.total:
        state.apply(proposer.propose(at(100)))
        roles.append(state.trials()[-1].role)
    assert roles == [Replicate(5, 1), Replicate(5, 2), Replicate(0, 2)]


def test_without_finished_trials_there_are_no_finals() -> None:
    proposer = Replicates(search(None, None), recorded_space(False), count=2, seeds=3)
    assert (proposer.total, proposer.best()) == (0, None)
