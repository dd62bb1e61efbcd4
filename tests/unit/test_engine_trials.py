"""What becomes of the trials of a session, and what is written of it when."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from happened import at
from played import (
    CODE,
    EPOCHS,
    HERE,
    OBJECTIVE,
    Fit,
    Killed,
    MortalLog,
    Session,
    Study,
    row,
    write_checkpoint,
)

from engine.budgets import Stop
from engine.checkpoints import Checkpoints
from engine.driver import Driver
from record.events import Ended, Event, Paused, Placed, Proposed, Reported, SessionBegan
from record.log import MemoryLog, Superseded
from record.trial import Baseline, Placement, Searched
from trainables.trial_spec import trial_folder


class OneTrial:
    """A session in which one trial has its place."""

    def __init__(self, study: Study, total: int = 1, **more: Any) -> None:
        self.study = study
        self.session = study.session()
        self.trials = self.session.search(total, **more)
        self.fit = self.next()
        self.trials.placed(self.fit.number)

    def next(self) -> Fit:
        trial = self.trials.next()
        assert trial is not None
        return Fit(self.session, self.trials, self.trials.begin(trial))

    def events(self, *kinds: type[Event]) -> list[Event]:
        """Those of the study so far that are of these kinds, written or not."""
        waiting = self.session.history.appender.waiting
        return [each for each in (*self.study.events(), *waiting) if isinstance(each, kinds)]

    @property
    def status(self) -> str:
        return self.session.history.state.trial(self.fit.number).status


@pytest.fixture
def one(tmp_path: Path) -> OneTrial:
    return OneTrial(Study(tmp_path))


def reported(one: OneTrial) -> list[list[int]]:
    """The epochs of each event that reports some."""
    events = one.events(Reported, Ended)
    return [[r.epoch for r in e.reports] for e in events if isinstance(e, Reported | Ended)]


# What runs


def test_the_baselines_come_first_and_then_what_the_search_draws(tmp_path: Path) -> None:
    session = Study(tmp_path).session()
    trials = session.search(3)
    session.play_all(trials)
    assert [t.role for t in trials.agenda.proposer.trials()] == [
        Baseline(0),
        Baseline(1),
        Searched(2),
    ]
    assert (trials.agenda.is_done(), trials.agenda.ended, trials.next()) == (True, 3, None)
    assert [t.status for t in trials.agenda.proposer.trials()] == ["finished"] * 3


def test_what_a_trial_is_to_know(one: OneTrial) -> None:
    spec = one.fit.spec
    assert (spec.number, spec.baseline, spec.resume, spec.attempt) == (0, True, None, 0)
    assert spec.config == one.study.space.default("gcn")


def test_trials_side_by_side_are_proposed_as_they_are_asked_for(tmp_path: Path) -> None:
    one = OneTrial(Study(tmp_path), total=3)
    assert len(one.events(Proposed)) == 1
    others = [one.next(), one.next()]
    assert [fit.number for fit in others] == [1, 2]
    assert one.trials.next() is None
    assert one.trials.agenda.is_done()
    assert one.trials.is_under_way()
    assert [each.placed is None for each in one.trials.live.values()] == [False, True, True]
    one.trials.failed(0, "so it goes")
    assert one.trials.is_under_way()
    assert not one.trials.is_under_way(placed=True)


def test_an_ending_and_the_next_proposal_are_one_group(tmp_path: Path) -> None:
    study = Study(tmp_path)
    session = study.session()
    session.play_all(session.search(3))
    assert isinstance(study.log, MemoryLog)
    groups = [[type(e).__name__ for e in group] for group in grouped(study.log)]
    epochs = ["Placed", *["Reported"] * EPOCHS]
    assert groups == [
        ["SessionBegan"],
        ["Proposed"],
        [*epochs, "Ended", "Proposed"],
        [*epochs, "Ended", "Proposed"],
        [*epochs, "Ended"],
    ]


def grouped(log: MemoryLog) -> list[list[Event]]:
    found, count = [], 0
    for place in range(1, len(log.lines) + 1):
        part = MemoryLog()
        part.lines = log.lines[:place]
        events = list(part.read())
        found.append(events[count:])
        count = len(events)
    return found


def test_no_more_trials_are_run_than_are_allowed_though_more_were_begun(tmp_path: Path) -> None:
    study = Study(tmp_path)
    one = OneTrial(study, total=3)
    one.next()
    one.next()
    one.trials.finish()
    session = study.session()
    trials = session.search(2)
    assert trials.agenda.queue == [0, 1]
    session.play_all(trials)
    statuses = [trial.status for trial in trials.agenda.proposer.trials()]
    assert statuses == ["finished", "finished", "waiting"]


# Epochs


def test_an_epoch_counts_once_a_checkpoint_holds_it(one: OneTrial) -> None:
    one.fit.train()
    assert (reported(one), one.status) == ([], "running")
    one.fit.save()
    assert reported(one) == [[1]]
    state = one.session.history.state
    assert state.checkpoints[0] == "session-0001/trial-00000/checkpoint_000001"
    assert [r.epoch for r in state.trial(0).reports] == [1]
    assert state.trial(0).value(OBJECTIVE) == row(0, one.fit.spec.config, 1)[OBJECTIVE]


def test_several_epochs_may_be_in_one_checkpoint(one: OneTrial) -> None:
    one.fit.train()
    one.fit.train()
    one.fit.save()
    assert reported(one) == [[1, 2]]


def test_where_a_trial_is_is_known_from_its_first_epoch_and_since_when_from_before(
    one: OneTrial,
) -> None:
    assert one.events(Placed) == []
    one.study.clock.seconds = 60.0
    one.fit.train()
    expected = Placement("here", "cpu", "x86 AVX2", 1, 7, CODE.commit, CODE.versions)
    assert one.events(Placed) == [Placed(0, expected, at(0.0))]
    one.fit.train()
    assert len(one.events(Placed)) == 1


def test_the_last_epochs_of_an_ending_need_no_checkpoint(one: OneTrial) -> None:
    one.fit.train()
    one.fit.save()
    one.fit.train()
    one.trials.completed(0)
    assert reported(one) == [[1], [2]]
    assert (one.status, one.session.history.state.trial(0).epoch) == ("pruned", 2)


def test_an_epoch_done_twice_counts_as_it_was_done_last(one: OneTrial) -> None:
    one.fit.train()
    one.fit.save()
    for value in (0.25, 0.5):
        again = row(0, one.fit.spec.config, 2) | {OBJECTIVE: value}
        one.trials.epoch(0, {**again, **HERE})
    one.trials.epoch(0, {**row(0, one.fit.spec.config, 1), OBJECTIVE: 9.0, **HERE})
    one.trials.completed(0)
    reports = one.session.history.state.trial(0).reports
    assert [r.epoch for r in reports] == [1, 2]
    assert [r.metrics[OBJECTIVE] for r in reports[1:]] == [0.5]
    assert reports[0].metrics[OBJECTIVE] != 9.0, "a checkpoint holds the first one"


def test_an_epoch_without_the_one_before_or_without_the_objective_is_a_mistake(
    one: OneTrial,
) -> None:
    one.fit.train()
    with pytest.raises(ValueError, match="trial 0 did epoch 3 after 1"):
        one.trials.epoch(0, {**row(0, one.fit.spec.config, 3), **HERE})
    without = row(0, one.fit.spec.config, 2)
    del without[OBJECTIVE]
    with pytest.raises(KeyError, match="reports no validation/r2"):
        one.trials.epoch(0, {**without, **HERE})


# Endings


def test_a_trial_that_used_its_budget_has_finished(one: OneTrial) -> None:
    one.fit.run()
    (ending,) = one.events(Ended)
    assert isinstance(ending, Ended)
    assert (ending.status, ending.reason, ending.reports) == ("finished", "", ())
    assert not one.trials.live
    assert one.events(Paused) == []


def test_a_failed_trial_has_a_reason_and_the_end_of_what_its_process_wrote(
    one: OneTrial,
) -> None:
    one.fit.train()
    one.trials.failed(0, "loss nan in epoch 2", "x" * 5000 + "last words")
    trial = one.session.history.state.trial(0)
    assert (trial.status, trial.reason, trial.epoch) == ("failed", "loss nan in epoch 2", 1)
    assert len(trial.output) == 4000
    assert trial.output.endswith("x" + "last words")


def test_a_trial_may_fail_before_its_first_epoch(one: OneTrial) -> None:
    one.trials.failed(0, "RuntimeError: it does not even begin")
    assert (one.status, one.events(Placed)) == ("failed", [])


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_trial_that_is_left_goes_on_later(one: OneTrial, epochs: int) -> None:
    if epochs:
        one.fit.train()
        one.trials.leave(0)
    one.trials.completed(0)
    paused = one.events(Paused)
    assert [e.reason for e in paused if isinstance(e, Paused)] == ["the session ends"] * epochs
    assert (one.status, one.trials.live) == ("paused" if epochs else "waiting", {})
    assert reported(one) == [], "its epoch is in no checkpoint"


def test_what_is_heard_of_a_trial_after_its_end_does_not_matter(one: OneTrial) -> None:
    one.fit.run()
    before = one.events(*Event.__args__)  # pyright: ignore[reportAttributeAccessIssue]
    one.fit.history = one.fit.history[:1]
    one.fit.train()
    for late in (one.trials.completed, one.trials.placed, one.trials.leave, one.trials.moved):
        late(0)
    for late in (one.trials.failed, one.trials.out_of_memory):
        late(0, "late")
    one.trials.died(0, "late", "")
    one.trials.saved(0, "session-0001/trial-00000/checkpoint_000003")
    assert one.events(*Event.__args__) == before  # pyright: ignore[reportAttributeAccessIssue]
    assert one.trials.next() is None


# Deaths


def test_a_trial_whose_process_died_goes_on_from_its_checkpoint_as_often_as_it_may(
    tmp_path: Path,
) -> None:
    one = OneTrial(Study(tmp_path, fates={0: "dies"}))
    one.fit.run()
    assert one.status == "paused"
    assert one.session.said == [
        "trial 0: its process died after epoch 2; it goes on from its checkpoint (1 of 1 times)"
    ]
    again = one.next()
    assert (again.number, again.spec.attempt, len(again.history)) == (0, 1, 1)
    assert again.spec.resume == str(one.study.root / "session-0001/trial-00000/checkpoint_000001")
    again.run()
    trial = one.session.history.state.trial(0)
    assert (trial.status, trial.reason) == ("failed", "its process died 2 times: a signal")
    assert (trial.output, trial.epoch, len(trial.placements)) == ("last words", 2, 2)
    assert one.trials.next() is None


def test_a_process_that_died_may_have_written_one_more_checkpoint(one: OneTrial) -> None:
    one.fit.train()
    one.fit.save()
    unheard = one.trials.saved
    one.trials.saved = lambda *_: None  # pyright: ignore[reportAttributeAccessIssue]
    one.fit.train()
    one.fit.save()
    one.trials.saved = unheard
    one.trials.died(0, "a signal", "")
    assert one.session.history.state.trial(0).epoch == 1
    again = one.next()
    assert len(again.history) == 2
    again.train()
    assert reported(one) == [[1], [2]], "the log catches up with the checkpoint"
    again.save()
    one.trials.completed(0)
    assert (reported(one), one.status) == ([[1], [2], [3], []], "finished")


def test_a_trial_that_moves_does_so_as_often_as_that_happens(one: OneTrial) -> None:
    fit = one.fit
    for attempt in range(3):
        fit.train()
        if attempt == 0:
            fit.save()
            fit.train()
        one.trials.moved(0)
        fit = one.next()
        assert (fit.spec.attempt, len(fit.history)) == (attempt + 1, 1)
        one.trials.placed(0)
    said = "trial 0: its node is gone after epoch 2; it goes on from its checkpoint of epoch 1"
    assert one.session.said == [said] * 3
    one.trials.deaths[0] = 2
    one.trials.moved(0, "its process cannot be reached")
    assert one.session.history.state.trial(0).reason == (
        "its process was lost 2 times on nodes that live; now its process cannot be reached"
    )


def test_when_all_processes_are_gone_all_trials_go_on(tmp_path: Path) -> None:
    one = OneTrial(Study(tmp_path), total=2)
    other = one.next()
    one.fit.train()
    one.trials.place_again()
    assert (one.status, one.trials.live, one.trials.agenda.queue) == (
        "paused",
        {},
        [0, other.number],
    )
    assert not one.trials.deaths


# Memory


def test_a_trial_without_room_is_tried_again_alone_when_all_others_are_done(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path, fates={1: "finds no room"})
    session = study.session()
    trials = session.search(3)
    session.play(trials)
    state = session.history.state
    assert [t.status for t in state.trials()] == ["finished", "paused", "finished"]
    assert state.trial(1).reason == "out of memory"
    assert session.said == [
        "trial 1: out of memory; it will be tried again alone, with the whole device"
    ]
    assert trials.agenda.begin_alone()
    session.play(trials)
    trial = state.trial(1)
    assert (trial.status, trial.reason, trial.epoch) == ("infeasible", "out of memory", 2)
    assert not trials.agenda.begin_alone()
    assert [e.number for e in study.events() if isinstance(e, Proposed)] == [0, 1, 2]


def test_a_trial_that_has_room_alone_finishes(tmp_path: Path) -> None:
    study = Study(tmp_path, fates={0: "finds no room"})
    session = study.session()
    trials = session.search(1)
    session.play(trials)
    study.fates.clear()
    assert trials.agenda.begin_alone()
    session.play(trials)
    assert session.history.state.trial(0).status == "finished"


# When it stops


def test_the_session_ends_when_the_target_is_reached_and_proposes_no_more(tmp_path: Path) -> None:
    study = Study(tmp_path)
    session = study.session()
    trials = session.search(9, target=-100.0)
    session.play_all(trials)
    assert trials.agenda.stop is not None
    assert trials.agenda.stop.kind == "target"
    assert [t.status for t in session.history.state.trials()] == ["finished"]


def test_a_plateau_counts_the_endings_of_earlier_sessions(tmp_path: Path) -> None:
    study = Study(tmp_path, fates=dict.fromkeys((1, 2, 3), "fails"))
    session = study.session()
    session.play(session.search(3))
    session.end()
    session = study.session()
    trials = session.search(9, plateau=3)
    session.play(trials)
    assert trials.agenda.stop == Stop("plateau", "no better trial among the last 3")
    assert session.history.state.next_number == 4


def test_a_session_whose_first_trials_all_fail_is_given_up(tmp_path: Path) -> None:
    session = Study(tmp_path, fates=dict.fromkeys(range(9), "fails")).session()
    trials = session.search(9)
    session.play(trials)
    reason = "the first 5 trials failed: loss nan in epoch 3"
    assert trials.agenda.stop == Stop("failures", reason)


def test_after_an_interruption_nothing_is_begun_and_what_runs_is_left(one: OneTrial) -> None:
    one.fit.train()
    one.fit.save()
    one.trials.agenda.halt(Stop("interrupted", "interrupted"))
    assert (one.trials.agenda.should_stop(), one.trials.agenda.was_cut_short()) == (True, True)
    assert one.trials.next() is None
    one.trials.finish()
    assert (one.status, one.trials.live) == ("paused", {})
    assert one.study.folded().trial(0).epoch == 1


def test_ctrl_c_in_the_middle_of_an_append_is_no_trouble(tmp_path: Path) -> None:
    log = MortalLog()
    one = OneTrial(Study(tmp_path, log))
    one.fit.train()
    one.fit.save()
    log.appends_left = 0
    with pytest.raises(Killed):
        one.trials.completed(0)
    log.appends_left = None
    one.trials.agenda.halt(Stop("interrupted", "interrupted"))
    before = list(log.lines)
    one.trials.look()
    one.trials.finish()
    assert one.trials.agenda.stop == Stop("interrupted", "interrupted")
    assert log.lines == before
    assert one.study.folded().trial(0).status == "waiting"


def test_in_trouble_no_ending_counts(one: OneTrial) -> None:
    """A full disk makes fits fail that are not to blame."""
    one.fit.train()
    one.trials.agenda.trouble(OSError(28, "No space left on device"))
    one.trials.failed(0, "it could not write")
    assert one.trials.agenda.stop == Stop("trouble", "No space left on device")
    assert (one.status, one.events(Ended)) == ("paused", [])
    one.trials.agenda.halt(Stop("interrupted", "interrupted"))
    assert one.trials.agenda.stop == Stop("trouble", "No space left on device")


def test_a_trial_without_a_sign_of_life_is_found(one: OneTrial) -> None:
    one.study.clock.seconds = 50.0
    one.fit.train()
    one.study.clock.seconds = 100.0
    assert (one.trials.silent(50.0), one.trials.silent(49.0)) == ([], [0])
    one.trials.live[0].placed = None
    assert one.trials.silent(0.0) == [], "who waits for a place has nothing to say"


def test_reports_are_written_though_nothing_else_happens(one: OneTrial) -> None:
    one.fit.train()
    one.fit.save()
    one.study.clock.seconds = 4.0
    one.trials.look()
    assert one.study.folded().trial(0).epoch == 0
    one.study.clock.seconds = 6.0
    one.trials.look()
    assert one.study.folded().trial(0).epoch == 1


# Observers


def test_observers_hear_of_every_change_once_it_is_written(tmp_path: Path) -> None:
    one = OneTrial(Study(tmp_path, fates={0: "dies once"}))
    one.fit.run()
    one.next().run()
    told = [(t.number, t.status, t.epoch) for t in one.session.seen.trials]
    assert told == [
        (0, "waiting", 0),
        (0, "running", 0),
        (0, "running", 1),
        (0, "paused", 1),
        (0, "paused", 1),
        (0, "running", 1),
        (0, "running", 2),
        (0, "running", 3),
        (0, "finished", 3),
    ]


def test_trouble_of_an_observer_ends_the_session(one: OneTrial) -> None:
    class Broken:
        def changed(self, trial: object) -> None:
            raise OSError(5, "Input/output error")

    one.trials.observers = (Broken(),)
    one.fit.run()
    assert one.trials.agenda.stop == Stop("trouble", "Input/output error")
    assert one.study.folded().trial(0).status == "paused"


# Checkpoints


def test_of_a_damaged_checkpoint_it_is_said_and_the_one_before_is_taken(tmp_path: Path) -> None:
    study = Study(tmp_path)
    one = OneTrial(study)
    for _ in range(2):
        one.fit.train()
        one.fit.save()
    one.trials.finish()
    name = "session-0001/trial-00000/checkpoint_000002"
    (study.root / name / "state.pt").write_bytes(b"half")
    again = OneTrial(study)
    assert again.session.said == [f"trial 0: its checkpoint {name} is damaged or cut off"]
    assert len(again.fit.history) == 1
    again.fit.run()
    trial = again.session.history.state.trial(0)
    assert (trial.status, [r.epoch for r in trial.reports]) == ("finished", [1, 2, 3])


def test_without_any_checkpoint_a_trial_begins_anew(tmp_path: Path) -> None:
    study = Study(tmp_path)
    one = OneTrial(study)
    one.fit.train()
    one.fit.save()
    one.trials.finish()
    shutil.rmtree(str(study.root))
    again = OneTrial(study)
    again.fit.train()
    again.trials.completed(0)
    trial = again.session.history.state.trial(0)
    assert (trial.status, [r.epoch for r in trial.reports]) == ("pruned", [1])


def test_checkpoints_that_nobody_needs_are_removed(tmp_path: Path) -> None:
    study = Study(tmp_path, fates={2: "fails"})
    session = study.session()
    session.play_all(session.search(6))
    known = Checkpoints(study.root)
    there = {number: len(known.of_trial(number)) for number in range(6)}
    assert {there.pop(0), there.pop(1)} == {1}, "the baselines'"
    assert there.pop(2) == 0
    state = session.history.state
    expected = {number: int(number in session.retention.staying) for number in there}
    assert there == expected
    assert state.best() is not None


# Another driver


class Taken(MemoryLog):
    """A log that another driver goes on with."""

    is_taken = False

    def append(self, group: Sequence[Event]) -> None:
        if self.is_taken:
            raise Superseded("another driver went on with the study in s3://b: this one stops")
        super().append(group)


@pytest.mark.parametrize("moment", ["epochs", "ending", "proposal", "end of the session"])
def test_a_driver_that_was_superseded_writes_nothing_more_anywhere(
    tmp_path: Path, moment: str
) -> None:
    log = Taken()
    study = Study(tmp_path, log)
    one = OneTrial(study, total=4)
    one.fit.train()
    one.fit.save()
    log.is_taken = True
    before = list(log.lines)
    find_out(one, moment)
    text = "another driver went on with the study in s3://b: this one stops"
    assert one.trials.agenda.stop == Stop("trouble", text)
    assert one.session.history.is_superseded
    log.is_taken = False
    leave_more_checkpoints_than_are_kept(one)
    seen, there = len(one.session.seen.trials), files(study)
    do_all_that_writes(one)
    assert one.session.projection.finish(patience=60.0) in ([], [0])
    assert log.lines == before
    assert files(study) == there
    shown = study.tracker.trials.get(0)
    assert shown is None or shown.status == "running"
    assert len(one.session.seen.trials) == seen
    assert one.session.said == []


def find_out(one: OneTrial, moment: str) -> None:
    match moment:
        case "epochs":
            one.study.clock.seconds = 10.0
            one.trials.look()
        case "ending":
            one.fit.run()
        case "proposal":
            assert one.trials.next() is None
        case _:
            one.trials.finish()


def leave_more_checkpoints_than_are_kept(one: OneTrial) -> None:
    for epoch in (7, 8, 9):
        name = f"session-0001/{trial_folder(0)}/checkpoint_{epoch:06d}"
        write_checkpoint(one.study.root / name, one.fit.history)
        one.session.checkpoints.saved(0, name)


def do_all_that_writes(one: OneTrial) -> None:
    one.session.retention.staying = set()
    one.trials.trim(0)
    one.trials.completed(0)
    one.trials.place_again()
    assert one.trials.next() is None
    one.trials.look()
    one.trials.finish()


def files(study: Study) -> list[str]:
    return sorted(map(str, study.root.rglob("state.pt")))


def test_a_log_that_takes_no_more_ends_the_session_and_loses_no_trial(tmp_path: Path) -> None:
    class Full(MortalLog):
        is_full = False

        def append(self, group: Any) -> None:
            if self.is_full:
                raise OSError(28, "No space left on device")
            super().append(group)

    log = Full()
    study = Study(tmp_path, log)
    one = OneTrial(study)
    for _ in range(EPOCHS):
        one.fit.train()
        one.fit.save()
    log.is_full = True
    one.trials.completed(0)
    assert one.trials.agenda.stop == Stop("trouble", "No space left on device")
    assert one.session.seen.trials[-1].status == "running", "nobody hears of the ending"
    one.trials.finish()
    one.session.projection.finish(patience=0.0)
    assert 0 not in study.tracker.trials or study.tracker.trials[0].status == "running"
    log.is_full = False
    session: Session = study.session()
    trials: Trials = session.search(1)
    session.play_all(trials)
    trial = study.folded().trial(0)
    assert (trial.status, trial.epoch) == ("finished", EPOCHS)
    assert len([e for e in study.events() if isinstance(e, SessionBegan)]) == 2
    assert trial_folder(0) in files(study)[0]
