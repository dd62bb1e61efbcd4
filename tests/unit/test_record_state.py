"""What a study has come to, event by event, and what cannot happen."""

from dataclasses import replace

import pytest
from happened import (
    PLACEMENT,
    at,
    began,
    ended,
    ended_session,
    placed,
    proposed,
    report,
    reported,
    story,
)

from record.events import Discarded, Dropped, Ended, Event, Paused, Reported, Scored
from record.state import IllegalEvent, StudyState, fold
from record.trial import Baseline, Replicate, Report, Searched, Trial

RUNNING = [began(), proposed(0), placed(0)]
FINISHED = [*RUNNING, reported(0, 1, 2), ended(0, r2=0.5)]


def test_a_trial_is_what_its_events_say() -> None:
    state = fold([*RUNNING, reported(0, 1), reported(0, 2), ended(0, r2=0.75)])
    event = proposed(0)
    assert state.trial(0) == Trial(
        number=0,
        config=event.config,
        drawn=event.drawn,
        role=Searched(0),
        status="finished",
        reports=(report(1), report(2), report(3, 0.75)),
        placements=(PLACEMENT,),
        started=at(0.5),
        ended=at(100),
        title="32",
    )
    assert state.trial(0).value("validation/r2") == 0.75
    assert state.trial(0).epoch == 3


def test_a_study_is_what_its_trials_are() -> None:
    state = fold(story())
    assert [(trial.number, trial.status) for trial in state.trials()] == [
        *((0, "finished"), (1, "pruned"), (2, "failed"), (3, "finished")),
    ]
    assert [trial.number for trial in state.search()] == [0, 1, 2]
    assert [trial.number for trial in state.with_role(Replicate)] == [3]
    assert [trial.number for trial in state.with_role(Baseline)] == [0]
    assert [trial.number for trial in state.with_status("finished", "failed")] == [0, 3, 2]
    assert state.count("finished", "pruned") == 3
    assert state.endings == [0, 1, 2, 3]
    assert (state.next_number, state.next_index) == (4, 3)
    assert state.checkpoints == {0: "c/2", 1: "c/2", 3: "c/2"}
    assert state.ending == ended_session(2)
    assert len(state.sessions) == 2


def test_a_state_after_part_of_the_events_goes_on_to_the_same_state() -> None:
    events = story()
    for cut in range(1, len(events)):
        state = fold(events[:cut])
        for event in events[cut:]:
            state.apply(event)
        assert vars(state) == vars(fold(events))


def test_a_trial_that_another_thread_holds_does_not_change() -> None:
    state = fold([*RUNNING, reported(0, 1)])
    held = state.trial(0)
    known = replace(held)
    for event in (reported(0, 2), ended(0, "failed"), ended_session()):
        state.apply(event)
    assert held == known != state.trial(0)


@pytest.mark.parametrize(
    ("status", "goes_on"),
    [("waiting", False), ("running", True), ("paused", True), ("stopped", True)],
)
def test_an_open_trial_goes_on_where_it_is_placed(status: str, goes_on: bool) -> None:
    before: dict[str, list[Event]] = {
        "waiting": [],
        "running": [placed(0)],
        "paused": [placed(0), Paused(0, "room is needed", at(9))],
        "stopped": [placed(0), ended_session(1, "KILLED"), began(2)],
    }
    state = fold([began(), proposed(0), *before[status]])
    assert state.trial(0).status == status
    assert [trial.number for trial in state.with_status(state.trial(0).status)] == [0]
    state.apply(replace(placed(0), at=at(50)))
    trial = state.trial(0)
    assert (trial.status, trial.reason) == ("running", "")
    assert len(trial.placements) == 1 + goes_on
    assert trial.started == (at(0.5) if goes_on else at(50)), "the first time counts"


def test_what_runs_when_a_session_is_cut_off_is_stopped_by_the_next_one() -> None:
    state = fold([*RUNNING, proposed(1), began(2)])
    assert [trial.status for trial in state.trials()] == ["stopped", "waiting"]


def test_an_epoch_that_is_done_again_counts_as_it_was_the_last_time() -> None:
    state = fold([*RUNNING, reported(0, 1, 2, 3), placed(0), reported(0, 2, r2=0.9)])
    assert state.trial(0).reports == (report(1), report(2, 0.9))


def test_the_best_is_the_finished_trial_of_the_search_with_the_best_value() -> None:
    events: list[Event] = [began()]
    values = [("finished", 0.5), ("pruned", 0.9), ("finished", 0.7), ("finished", 0.7)]
    for number, (status, value) in enumerate(values):
        last = (report(1, value),)
        events += [proposed(number), placed(number), Ended(number, status, at(9), reports=last)]  # pyright: ignore
    replicate = Ended(4, "finished", at(9), "", (report(1, 0.95),))
    events += [proposed(4, Replicate(0, 1)), placed(4), replicate]
    best = fold(events).best()
    assert best is not None
    assert best.number == 3, "of equal ones the latest"
    least = fold([began(direction="minimize"), *events[1:]]).best()
    assert least is not None
    assert least.number == 0
    assert fold(RUNNING).best() is None


def test_a_trial_whose_run_was_deleted_is_remembered() -> None:
    state = fold([*FINISHED, ended_session(), Discarded(0, at(200))])
    assert state.discarded == {0}
    assert state.trial(0).status == "finished"
    with pytest.raises(IllegalEvent, match="trial 1, which was discarded, is not known"):
        state.apply(Discarded(1, at(200)))


def test_a_finalist_that_was_dropped_says_why_and_stays_what_it_was() -> None:
    state = fold([*FINISHED, proposed(1), placed(1), reported(1, 1, 2), ended(1, r2=0.4)])
    state.apply(Dropped(0, "it was far behind", at(200)))
    assert state.trial(0) == replace(fold(FINISHED).trial(0), dropped="it was far behind")
    assert [trial.number for trial in state.with_status("finished")] == [0, 1]
    assert state.best() == state.trial(0)


SCORED = Scored(0, {"test/r2": 0.4}, "", at(300))
DROPPED = Dropped(0, "it was far behind", at(300))

ILLEGAL = {
    "Proposed outside of a session": [proposed(0)],
    "Proposed outside": [began(), ended_session(), proposed(0)],
    "SessionEnded outside": [began(), ended_session(), ended_session()],
    "session-0001 runs, and not session-0002": [began(), ended_session(2)],
    "identity x, not y": [began(), began(2, identity="y")],
    "objective validation/r2, not loss": [began(), began(2, objective="loss")],
    "direction maximize": [began(), began(2, direction="minimize")],
    "trial 0 is proposed already": [began(), proposed(0), proposed(0)],
    "trial 1 is proposed: expected 0": [began(), proposed(1)],
    "trial 1 has index 0: expected 1": [began(), proposed(0), proposed(1, Searched(0))],
    "trial 1 has index 2: expected 1": [began(), proposed(0), proposed(1, Baseline(2))],
    "replicates trial 1": [began(), proposed(0, Replicate(1, 0))],
    "Placed of trial 0, which was not proposed": [began(), placed(0)],
    "Reported of trial 1, which was not": [*RUNNING, reported(1, 1)],
    "Reported of trial 0, which is waiting": [began(), proposed(0), reported(0, 1)],
    "Paused of trial 0, which is waiting": [began(), proposed(0), Paused(0, "", at(1))],
    "Ended of trial 0, which is finished": [*FINISHED, ended(0, "failed")],
    "Reported of trial 0, which is finished": [*FINISHED, reported(0, 3)],
    "Placed of trial 0, which is finished": [*FINISHED, placed(0)],
    "Scored of trial 0, which is running": [*RUNNING, SCORED],
    "trial 0 is scored already": [*FINISHED, SCORED, SCORED],
    "Dropped of trial 0, which is running": [*RUNNING, DROPPED],
    "Dropped outside of a session": [*FINISHED, ended_session(), DROPPED],
    "trial 0 is dropped already": [*FINISHED, DROPPED, DROPPED],
    "trial 3, which was dropped, is no finalist but a final of one": [
        *story()[:-2],
        replace(DROPPED, number=3),
    ],
    "trial 0 is discarded already": [*FINISHED, Discarded(0, at(1)), Discarded(0, at(2))],
    "cannot end as paused": [*RUNNING, ended(0, "paused")],
    "trial 0 is finished without validation/r2": [*RUNNING, ended(0)],
    "trial 0 is pruned without": [*RUNNING, Ended(0, "pruned", at(1), "", (Report(1, 0, 0, {}),))],
    "reports epoch 2 after epoch 0": [*RUNNING, reported(0, 2)],
    "reports epoch 0 after": [*RUNNING, reported(0, 0)],
    "reports epoch 3 out of order": [*RUNNING, reported(0, 1, 3)],
    "reports epoch 3 after epoch 1": [*RUNNING, reported(0, 1), ended(0, r2=0.5)],
}


@pytest.mark.parametrize("why", ILLEGAL)
def test_what_cannot_happen_is_refused_and_changes_nothing(why: str) -> None:
    *events, last = ILLEGAL[why]
    state = fold(events)
    with pytest.raises(IllegalEvent, match=why):
        state.apply(last)
    assert vars(state) == vars(fold(events))


def test_a_trial_may_end_wherever_it_stands() -> None:
    for events in ([], [placed(0)], [placed(0), Paused(0, "", at(1))], [placed(0), began(2)]):
        state = fold([began(), proposed(0), *events, ended(0, "infeasible")])
        assert state.trial(0).status == "infeasible"
        assert not state.trial(0).is_open


def test_a_proposal_without_reports_is_a_waiting_trial() -> None:
    event = replace(proposed(0), inactive={"heads": 2})
    state = fold([began(), event])
    assert state.trial(0) == Trial(
        0, event.config, event.drawn, Searched(0), inactive={"heads": 2}, title="32"
    )
    assert state.value(state.trial(0)) is None


def test_an_empty_study_knows_nothing() -> None:
    state = StudyState()
    assert (state.trials(), state.search(), state.next_number) == ((), (), 0)
    assert Reported(0, ()).checkpoint == ""
