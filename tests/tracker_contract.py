"""Contract tests that each implementation of a tracker inherits."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import pytest
from happened import ended, ended_session, placed, proposed, reported, story

from record.state import StudyState, fold
from record.tracker import RunDeleted, Shown, StudyFacts, Tracker, sync
from record.trial import Trial

FACTS = StudyFacts(
    identity="x",
    question="Why?",
    params={"seed": 0, "objective": "validation/r2"},
    tags={"orrery.command": "python study.py"},
    trial_tags={"orrery.data": "0123", "orrery.trial": "a fact of the data of that name"},
    data=("molecules", "0123"),
    space=({"key": "width"},),
)

Open = Callable[[], Tracker]


def shown(tracker: Tracker, state: StudyState) -> dict[int, Shown | None]:
    return {trial.number: tracker.shown(trial.number) for trial in state.trials()}


def expected(trials: tuple[Trial, ...]) -> dict[int, Shown | None]:
    return {
        trial.number: Shown(trial.status, tuple(trial.reports)) if trial.placements else None
        for trial in trials
    }


class TrackerContract(ABC):
    """Tests of a tracker; a subclass defines how to open one and how to delete a run in it."""

    @abstractmethod
    def opener(self, folder: Path) -> Open:
        """Returns a function that opens the tracker in a folder anew at each call, as a new
        process would."""

    @abstractmethod
    def delete(self, tracker: Tracker, number: int) -> None:
        """Deletes the run of a trial, as a user would."""

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Open:
        return self.opener(tmp_path)

    def test_a_study_is_shown_as_it_stands_after_each_event(self, opened: Open) -> None:
        tracker, state = opened(), StudyState()
        tracker.begin(FACTS)
        for event in story():
            state.apply(event)
            sync(tracker, state)
            assert shown(tracker, state) == expected(state.trials())

    def test_what_is_shown_as_it_stands_has_no_faults(self, opened: Open) -> None:
        tracker, state = opened(), StudyState()
        tracker.begin(FACTS)
        for place, event in enumerate(story()):
            state.apply(event)
            sync(tracker, state)
            seen = opened() if place % 5 == 0 else tracker
            numbers = {trial.number for trial in state.trials() if trial.placements}
            assert (seen.numbers(), seen.doubled()) == (numbers, set())
            assert [seen.faults(state.trial(number)) for number in numbers] == [[]] * len(numbers)
            assert seen.study_status() == "RUNNING"
        tracker.close("KILLED", {})
        assert opened().study_status() == "KILLED"

    def test_what_changed_since_it_was_shown_is_a_fault(self, opened: Open) -> None:
        tracker, events = opened(), story()
        tracker.begin(FACTS)
        sync(tracker, fold(events[:13]))
        state = fold(events)
        assert opened().faults(state.trial(1))
        assert opened().faults(state.trial(0)), "it was dropped since"
        assert not opened().faults(fold(events[:-2]).trial(0))

    def test_a_study_that_was_not_begun_is_not_shown(self, opened: Open) -> None:
        assert (opened().study_status(), opened().numbers()) == (None, set())

    def test_what_is_told_any_number_of_times_is_shown_once(self, opened: Open) -> None:
        chance, events = random.Random(0), story()
        for cut in range(1, len(events) + 1, 4):
            tracker = opened()
            tracker.begin(FACTS)
            state = fold(events[:cut])
            for trial in chance.choices(state.trials() or (None,), k=6):
                if trial is not None and trial.number != 3:
                    tracker.tell(trial)
            sync(tracker, state)
            sync(tracker, state)
            assert shown(opened(), state) == expected(state.trials())

    def test_a_tracker_that_knows_nothing_any_more_is_told_everything(self, opened: Open) -> None:
        tracker, state = opened(), fold(story())
        tracker.begin(FACTS)
        assert sync(tracker, state) == set()
        assert shown(opened(), state) == expected(state.trials())

    @pytest.mark.parametrize("is_opened_again", [True, False])
    def test_a_run_that_the_user_deleted_stays_deleted(
        self, opened: Open, is_opened_again: bool
    ) -> None:
        tracker, state = opened(), fold(story())
        tracker.begin(FACTS)
        sync(tracker, state)
        self.delete(tracker, 1)
        if is_opened_again:
            tracker = opened()
            tracker.begin(FACTS)
        assert sync(tracker, state) == {1}
        with pytest.raises(RunDeleted):
            tracker.tell(state.trial(1))
        assert tracker.shown(1) is None
        state.discarded.add(1)
        assert sync(tracker, state) == set()

    def test_a_run_that_is_deleted_while_its_trial_runs_is_found_out(self, opened: Open) -> None:
        events = story()[:6]
        tracker, state = opened(), fold(events)
        tracker.begin(FACTS)
        sync(tracker, state)
        self.delete(tracker, 0)
        state.apply(reported(0, 2))
        with pytest.raises(RunDeleted) as found:
            tracker.tell(state.trial(0))
        assert found.value.number == 0

    def test_a_run_that_was_put_away_is_shown_anew(self, opened: Open) -> None:
        tracker, state = opened(), fold(story())
        tracker.begin(FACTS)
        sync(tracker, state)
        for number in (0, 1):
            tracker.forget(number)
            assert tracker.shown(number) is None
        tracker = opened()
        tracker.begin(FACTS)
        assert sync(tracker, state) == set()
        assert shown(tracker, state) == expected(state.trials())

    def test_a_trial_that_waits_is_not_shown(self, opened: Open) -> None:
        tracker = opened()
        tracker.begin(FACTS)
        state = fold([*story()[:1], proposed(0)])
        tracker.tell(state.trial(0))
        assert tracker.shown(0) is None
        state.apply(ended(0, "infeasible"))
        tracker.tell(state.trial(0))
        assert tracker.shown(0) == Shown("infeasible", ())

    def test_a_study_goes_on_in_a_later_session(self, opened: Open) -> None:
        first = opened()
        first.begin(FACTS)
        state = fold([*story()[:1], proposed(0), placed(0), reported(0, 1)])
        sync(first, state)
        first.close("KILLED", {"orrery.trials": "0"})
        state.apply(ended_session(1, "KILLED"))
        later = opened()
        later.begin(FACTS)
        sync(later, state)
        assert later.shown(0) == Shown("stopped", state.trial(0).reports)  # pyright: ignore
