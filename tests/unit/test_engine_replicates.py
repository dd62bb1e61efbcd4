"""Which configurations are trained again, on which seeds, in which order."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest
from happened import UNIX_MS, at, began, ended_session, placed
from old_proposals import RECORDINGS, recorded
from recorded_space import RecordedConfig, recorded_space

from engine.replicates import Replicates, finalists
from record.events import Discarded, Ended, Proposed
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
    more = Replicates(state, recorded_space(False), count=2, seeds=3).text()
    assert more.endswith("each trained again with up to 3 fresh seeds")
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


# The race


def raced(state: StudyState, results: Mapping[int, list[float | None]]) -> None:
    """Trains the finalists seed by seed to these results, whatever the race says."""
    for seed in range(1, max(map(len, results.values())) + 1):
        for of, values in results.items():
            if len(values) >= seed:
                number = propose(state, Replicate(of, seed), {})
                end(state, number, values[seed - 1])


def drops(state: StudyState, count: int = 2, seeds: int = 5, **more: Any) -> dict[int, str]:
    """Number of each finalist that is dropped now -> the reason; the state knows afterwards."""
    proposer = Replicates(state, recorded_space(False), count, seeds, **more)
    found = list(proposer.due(at(200)))
    for event in found:
        state.apply(event)
    assert list(proposer.due(at(201))) == [], "once"
    return {event.number: event.reason for event in found}


CLOSE: list[float | None] = [0.80, 0.82]
FAR: list[float | None] = [0.20, 0.21]


def test_of_a_dropped_finalist_no_final_is_begun() -> None:
    state = search(0.1, 0.2, 0.9)
    raced(state, {2: CLOSE, 1: [0.79, 0.81], 0: FAR})
    (number, reason), *others = drops(state).items()
    assert (number, others) == (0, [])
    assert reason.startswith("after 2 seeds its mean validation/r2 is 0.2050, that of trial 2 is")
    assert reason.endswith(", below 0.0125, this round's share of 5%")
    proposer = Replicates(state, recorded_space(False), count=2, seeds=5)
    assert proposer.total == 2 * 5 + 2
    roles = []
    while len(proposer.trials()) < proposer.total:
        state.apply(proposer.propose(at(300)))
        roles.append(state.trials()[-1].role)
    assert roles == [Replicate(of, seed) for seed in (3, 4, 5) for of in (2, 1)]


def test_without_the_race_nobody_is_dropped() -> None:
    state = search(0.1, 0.2, 0.9)
    raced(state, {2: CLOSE, 1: CLOSE, 0: FAR})
    assert drops(state, race=False) == {}


def test_where_less_is_better_the_greater_is_dropped() -> None:
    state = search(0.1, 0.2, 0.9, direction="minimize")
    raced(state, {0: CLOSE, 1: FAR})
    found = drops(state)
    assert set(found) == {0}
    assert "its mean validation/r2 is 0.8100, that of trial 1 is 0.2050" in found[0]


def test_who_has_nothing_left_to_train_is_not_dropped_unless_seeds_are_added() -> None:
    state = search(0.1, 0.2, 0.9)
    raced(state, {2: CLOSE, 1: CLOSE, 0: FAR})
    assert drops(state, seeds=2) == {}
    assert set(drops(state, seeds=3)) == {0}


def test_one_of_which_a_final_failed_or_was_deleted_does_not_lead() -> None:
    for deleted in ((), (2,), (3,)):
        state = search(0.1, 0.2, 0.9)
        raced(state, {2: [0.99, 1.01 if deleted else None], 1: CLOSE, 0: [0.79, 0.82]})
        for number in deleted:
            state.apply(Discarded(number, at(150)))
        assert drops(state) == {}
    state = search(0.1, 0.2, 0.9)
    raced(state, {2: [0.99, 1.01], 1: CLOSE, 0: [0.79, 0.82]})
    assert set(drops(state)) == {0, 1}


def test_a_drop_stands_where_the_search_went_on_and_newcomers_race_the_others() -> None:
    state = search(0.1, 0.2, 0.9)
    raced(state, {2: CLOSE, 1: [0.79, 0.81], 0: FAR})
    assert set(drops(state)) == {0}
    for seed, values in ((3, (0.81, 0.80)), (4, (0.80, 0.79)), (5, (0.82, 0.81))):
        for of, value in zip((2, 1), values, strict=True):
            end(state, propose(state, Replicate(of, seed), {}), value)
    end(state, propose(state, Searched(3), {"width": 99}), 0.95)
    newcomer = state.search()[-1].number
    proposer = Replicates(state, recorded_space(False), count=2, seeds=5)
    assert [trial.number for trial in proposer.finalists] == [newcomer, 2, 0]
    first = proposer.propose(at(300))
    assert first.role == Replicate(newcomer, 1), "the dropped one is not taken up again"
    for seed, value in ((1, 0.1), (2, 0.11)):
        end(state, propose(state, Replicate(newcomer, seed), {}), value)
    assert set(drops(state)) == {newcomer}
    assert proposer.total == len(proposer.trials()) == 5 + 5 + 2 + 2
