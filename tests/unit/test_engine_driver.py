"""What becomes of the trials of a session, and what is written of it when."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
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

from datasets.errors import InputError
from engine import driver
from engine.budgets import Stop
from engine.checkpoints import Checkpoints
from engine.driver import Driver, Nothing, Verdict
from record.events import Ended, Event, Paused, Placed, Proposed, Reported, SessionBegan
from record.log import MemoryLog, Superseded
from record.trial import Baseline, Placement, Replicate, Searched
from trainables.message import Message
from trainables.trial_spec import trial_folder

ALL: tuple[type[Event], ...] = Event.__args__  # pyright: ignore[reportAttributeAccessIssue]


class OneTrial:
    """A session in which one trial has its place."""

    def __init__(self, study: Study, total: int = 1, **more: Any) -> None:
        self.study = study
        self.session = study.session()
        self.driver = self.session.search(total, **more)
        self.fit = self.next()
        self.driver.placed(self.fit.number)

    def next(self) -> Fit:
        trial = self.driver.next()
        assert not isinstance(trial, Nothing)
        return Fit(self.session, self.driver, self.driver.begin(trial))

    def heard(self, *epochs: int, checkpoint: str = "c", **more: Any) -> Verdict:
        """Trial 0 reports epochs that nobody trained."""
        rows = tuple(row(0, self.fit.spec.config, epoch) for epoch in epochs)
        return self.driver.heard(Message(0, rows, checkpoint, HERE, **more))

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


def grouped(study: Study) -> list[list[str]]:
    """Kinds of the events, as they were written together."""
    assert isinstance(study.log, MemoryLog)
    found: list[list[str]] = []
    count = 0
    for place in range(1, len(study.log.lines) + 1):
        part = MemoryLog()
        part.lines = study.log.lines[:place]
        events = list(part.read())
        found.append([type(event).__name__ for event in events[count:]])
        count = len(events)
    return found


# What runs


def test_the_baselines_come_first_and_then_what_the_search_draws(tmp_path: Path) -> None:
    session = Study(tmp_path).session()
    driver = session.search(3)
    session.play_all(driver)
    proposer = driver.agenda.proposer
    assert [t.role for t in proposer.trials()] == [Baseline(0), Baseline(1), Searched(2)]
    assert (driver.agenda.is_done(), driver.agenda.ended) == (True, 3)
    assert driver.next() is Nothing.DONE
    assert [t.status for t in proposer.trials()] == ["finished"] * 3


def test_what_a_trial_is_to_know(one: OneTrial) -> None:
    spec = one.fit.spec
    assert (spec.number, spec.resume, spec.rungs, spec.report_every) == (0, None, (), 0.0)
    assert spec.folder == str(one.study.root / "session-0001" / "trial-00000")
    assert (spec.config, spec.role) == (one.study.space.default("gcn"), Baseline(0))


def test_trials_that_may_be_stopped_early_know_where(tmp_path: Path) -> None:
    assert OneTrial(Study(tmp_path, stops_early=True)).fit.spec.rungs == (1, 2, 4)


def test_the_more_trials_there_are_at_once_the_more_rarely_each_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "MESSAGES_A_SECOND", 5)
    trials = Study(tmp_path).session().search(2)
    paces = []
    for at_once in (1, 100):
        trial = trials.next()
        assert not isinstance(trial, Nothing)
        paces.append(trials.begin(trial, at_once).report_every)
    assert paces == [0.2, 20.0]


def test_trials_side_by_side_are_proposed_as_they_are_asked_for(tmp_path: Path) -> None:
    one = OneTrial(Study(tmp_path), total=3)
    assert len(one.events(Proposed)) == 1
    others = [one.next(), one.next()]
    assert [fit.number for fit in others] == [1, 2]
    assert one.driver.agenda.is_done()
    assert [each.placed is None for each in one.driver.live.values()] == [False, True, True]
    assert one.driver.is_any_placed()
    one.driver.failed(0, "so it goes")
    assert not one.driver.is_any_placed(), "the others wait for their place"


def test_while_a_trial_is_under_way_it_may_have_to_be_run_again(tmp_path: Path) -> None:
    one = OneTrial(Study(tmp_path), total=1)
    assert one.driver.next() is Nothing.WAIT
    one.driver.node_lost(0)
    assert one.next().number == 0
    assert one.driver.next() is Nothing.WAIT
    one.driver.failed(0, "so it goes")
    assert one.driver.next() is Nothing.DONE


def test_a_session_that_is_to_end_waits_for_nothing(one: OneTrial) -> None:
    one.driver.agenda.halt(Stop("time", "the time is up"))
    assert one.driver.live
    assert one.driver.next() is Nothing.DONE


def test_all_that_follows_from_a_message_is_one_group(tmp_path: Path) -> None:
    study = Study(tmp_path)
    session = study.session()
    session.play_all(session.search(3))
    epochs = ["Placed", *["Reported"] * EPOCHS]
    assert grouped(study) == [
        ["SessionBegan"],
        ["Proposed"],
        [*epochs, "Ended", "Proposed"],
        [*epochs, "Ended", "Proposed"],
        [*epochs, "Ended"],
    ]


def test_a_place_epochs_an_ending_and_a_proposal_may_be_one_message(tmp_path: Path) -> None:
    study = Study(tmp_path, every=EPOCHS)
    session = study.session()
    session.play_all(session.search(2))
    assert grouped(study)[2:] == [
        ["Placed", "Reported", "Ended", "Proposed"],
        ["Placed", "Reported", "Ended"],
    ]
    assert [t.epoch for t in study.folded().trials()] == [EPOCHS] * 2


def test_no_more_trials_are_run_than_are_allowed_though_more_were_begun(tmp_path: Path) -> None:
    study = Study(tmp_path)
    one = OneTrial(study, total=3)
    one.next()
    one.next()
    one.driver.finish()
    session = study.session()
    trials = session.search(2)
    assert trials.agenda.queue == [0, 1]
    session.play_all(trials)
    statuses = [trial.status for trial in trials.agenda.proposer.trials()]
    assert statuses == ["finished", "finished", "waiting"]


# Epochs


def test_an_epoch_counts_once_a_checkpoint_holds_it(one: OneTrial) -> None:
    one.fit.train()
    one.fit.save()
    assert (reported(one), one.status) == ([], "waiting")
    assert one.fit.says() is Verdict.GO_ON
    assert (reported(one), one.status) == ([[1]], "running")
    state = one.session.history.state
    assert state.checkpoints[0] == "session-0001/trial-00000/checkpoint_000001"
    assert [r.epoch for r in state.trial(0).reports] == [1]
    assert state.trial(0).value(OBJECTIVE) == row(0, one.fit.spec.config, 1)[OBJECTIVE]


def test_several_epochs_may_be_in_one_message(one: OneTrial) -> None:
    assert one.fit.reports(2) is Verdict.GO_ON
    assert reported(one) == [[1, 2]]
    assert one.fit.reports(EPOCHS - 2) is Verdict.STOP
    assert reported(one) == [[1, 2], [3, 4, 5], []]
    assert one.status == "finished"


def test_where_a_trial_is_is_known_from_its_first_message_and_since_when_from_before(
    one: OneTrial,
) -> None:
    assert one.events(Placed) == []
    one.study.clock.seconds = 60.0
    one.fit.reports()
    expected = Placement("here", "cpu", "x86 AVX2", 1, 7, CODE.commit, CODE.versions)
    assert one.events(Placed) == [Placed(0, expected, at(0.0))]
    one.fit.reports()
    assert len(one.events(Placed)) == 1


def test_an_epoch_without_the_one_before_or_without_the_objective_is_a_mistake(
    one: OneTrial,
) -> None:
    one.fit.reports()
    before = one.events(*ALL)
    for epochs, found in (((3,), "epoch 3 after 1"), ((1,), "1 after 1"), ((2, 4), "4 after 2")):
        with pytest.raises(ValueError, match=f"trial 0 did .*{found}"):
            one.heard(*epochs)
    without = row(0, one.fit.spec.config, 2)
    del without[OBJECTIVE]
    with pytest.raises(InputError, match="reports no validation/r2"):
        one.driver.heard(Message(0, (without,), "c", HERE))
    assert one.events(*ALL) == before


# Endings


def test_a_trial_that_used_its_budget_has_finished(one: OneTrial) -> None:
    one.fit.run()
    (ending,) = one.events(Ended)
    assert isinstance(ending, Ended)
    assert (ending.status, ending.reason, ending.reports) == ("finished", "", ())
    assert not one.driver.live
    assert one.events(Paused) == []


def test_a_trial_that_is_behind_at_a_rung_is_pruned_there(tmp_path: Path) -> None:
    study = Study(tmp_path, fates={1: "is poor", 2: "is poor"}, every=EPOCHS, stops_early=True)
    session = study.session()
    session.play_all(session.search(3))
    trials = study.folded().trials()
    assert [t.status for t in trials] == ["finished", "finished", "pruned"], "1 is a baseline"
    assert [t.epoch for t in trials] == [EPOCHS, EPOCHS, 1]
    assert trials[2].reason == ""
    assert grouped(study)[-1] == ["Placed", "Reported", "Ended"]


def test_a_verdict_that_nobody_heard_is_given_before_the_trial_goes_on(tmp_path: Path) -> None:
    """The driver, or the process, died between the checkpoint of a rung and its message."""
    study = Study(tmp_path, fates={2: "is poor"}, stops_early=True)
    session = study.session()
    session.play_all(session.search(2))
    one = OneTrial(study, total=3)
    one.fit.train()
    one.fit.save()
    one.driver.node_lost(2)
    one.next().run()
    trial = one.study.folded().trial(2)
    assert (trial.status, trial.epoch, len(trial.placements)) == ("pruned", 1, 1)


def test_a_trial_whose_last_epoch_nobody_heard_of_ends_by_a_message_without_epochs(
    tmp_path: Path,
) -> None:
    """Its process died between the last checkpoint and the message."""
    one = OneTrial(Study(tmp_path))
    one.fit.reports(EPOCHS - 1)
    one.fit.train()
    one.fit.save()
    one.driver.node_lost(0)
    again = one.next()
    one.driver.placed(0)
    assert again.told == EPOCHS
    assert again.says() is Verdict.STOP
    trial = one.study.folded().trial(0)
    assert (trial.status, trial.epoch) == ("finished", EPOCHS)
    assert [report.epoch for report in trial.reports] == [*range(1, EPOCHS + 1)]


def test_the_last_epochs_of_a_failed_trial_need_no_checkpoint(one: OneTrial) -> None:
    one.fit.reports()
    one.fit.train()
    assert one.fit.says(failure="loss nan in epoch 3") is Verdict.STOP
    assert reported(one) == [[1], [2]]
    trial = one.session.history.state.trial(0)
    assert (trial.status, trial.reason, trial.epoch) == ("failed", "loss nan in epoch 3", 2)


def test_a_trial_whose_first_message_is_its_failure_has_its_place_and_its_epochs(
    one: OneTrial,
) -> None:
    one.fit.train()
    one.fit.says(failure="loss nan in epoch 2")
    assert grouped(one.study)[2:] == [["Placed", "Ended"]]
    trial = one.study.folded().trial(0)
    assert (trial.status, trial.epoch, len(trial.placements)) == ("failed", 1, 1)


def test_a_failed_trial_has_a_reason_and_the_end_of_what_its_process_wrote(
    one: OneTrial,
) -> None:
    one.fit.reports()
    one.driver.failed(0, "it raised", "x" * 5000 + "last words")
    trial = one.session.history.state.trial(0)
    assert (trial.status, trial.reason, trial.epoch) == ("failed", "it raised", 1)
    assert len(trial.output) == 4000
    assert trial.output.endswith("x" + "last words")


def test_a_trial_may_fail_before_its_first_epoch(one: OneTrial) -> None:
    one.driver.failed(0, "RuntimeError: it does not even begin")
    assert (one.status, one.events(Placed)) == ("failed", [])


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_trial_that_is_left_goes_on_later(one: OneTrial, epochs: int) -> None:
    if epochs:
        one.fit.reports()
    one.driver.finish()
    paused = one.events(Paused)
    assert [e.reason for e in paused if isinstance(e, Paused)] == ["the session ends"] * epochs
    assert (one.status, one.driver.live) == ("paused" if epochs else "waiting", {})
    assert reported(one) == [[1]] * epochs


def test_in_a_session_that_is_to_end_a_trial_is_left_after_its_message(one: OneTrial) -> None:
    one.driver.agenda.halt(Stop("time", "the time is up"))
    assert one.fit.reports(2) is Verdict.STOP
    assert (one.status, one.driver.live) == ("paused", {})
    assert one.study.folded().trial(0).epoch == 2


def test_the_last_epoch_counts_though_the_session_is_to_end(one: OneTrial) -> None:
    one.driver.agenda.halt(Stop("time", "the time is up"))
    assert one.fit.reports(EPOCHS) is Verdict.STOP
    assert (one.status, one.events(Paused)) == ("finished", [])


def test_what_is_heard_of_a_trial_after_its_end_does_not_matter(one: OneTrial) -> None:
    one.fit.run()
    before = one.events(*ALL)
    assert one.heard(1) is Verdict.STOP
    assert one.heard(failure="late", checkpoint="") is Verdict.STOP
    one.driver.placed(0)
    one.driver.node_lost(0)
    one.driver.failed(0, "late")
    one.driver.out_of_memory(0, "late")
    one.driver.worker_failed(0, "late", "")
    assert one.events(*ALL) == before
    assert one.driver.next() is Nothing.DONE


# Deaths


def test_a_trial_whose_process_died_goes_on_from_its_checkpoint_as_often_as_it_may(
    tmp_path: Path,
) -> None:
    one = OneTrial(Study(tmp_path, fates={0: "dies"}))
    one.fit.run()
    assert one.status == "paused"
    assert one.session.said == [
        "trial 0: its process died after epoch 1; it goes on from its checkpoint (1 of 1 times)"
    ]
    again = one.next()
    assert (again.number, len(again.history)) == (0, 1)
    assert again.spec.folder == str(one.study.root / "session-0001/trial-00000-001")
    assert again.spec.resume == str(one.study.root / "session-0001/trial-00000/checkpoint_000001")
    again.run()
    trial = one.session.history.state.trial(0)
    assert (trial.status, trial.reason) == ("failed", "its process died 2 times: a signal")
    assert (trial.output, trial.epoch) == ("last words", 1)
    assert one.driver.next() is Nothing.DONE


def test_a_process_that_died_may_have_written_one_more_checkpoint(one: OneTrial) -> None:
    one.fit.reports()
    one.fit.train()
    one.fit.save()
    one.driver.worker_failed(0, "a signal", "")
    assert one.session.history.state.trial(0).epoch == 1
    again = one.next()
    assert len(again.history) == 2
    again.reports()
    assert reported(one) == [[1], [2, 3]], "the log catches up with the checkpoint"
    again.reports(2)
    assert (reported(one), one.status) == ([[1], [2, 3], [4, 5], []], "finished")


def test_what_a_checkpoint_holds_is_logged_with_the_failure_that_follows(one: OneTrial) -> None:
    one.fit.reports()
    one.fit.train()
    one.fit.save()
    one.driver.worker_failed(0, "a signal", "")
    again = one.next()
    again.train()
    again.says(failure="loss nan in epoch 4")
    assert reported(one) == [[1], [2], [3]]
    assert one.session.history.state.trial(0).epoch == 3


def test_an_epoch_that_was_trained_twice_counts_as_it_was_trained_last(one: OneTrial) -> None:
    """Its checkpoint was damaged, and the trial went on from the one before."""
    one.fit.reports()
    one.fit.reports()
    (one.study.root / one.fit.checkpoint / "state.pt").write_bytes(b"half")
    one.driver.node_lost(0)
    again = one.next()
    again.history.append({**row(0, again.spec.config, 2), OBJECTIVE: 0.5})
    again.save()
    again.says()
    reports = one.session.history.state.trial(0).reports
    assert [r.epoch for r in reports] == [1, 2]
    assert reports[1].metrics[OBJECTIVE] == 0.5


def test_a_trial_that_moves_does_so_as_often_as_that_happens(one: OneTrial) -> None:
    fit = one.fit
    for attempt in range(3):
        if attempt == 0:
            fit.reports()
        fit.train()
        one.driver.node_lost(0)
        fit = one.next()
        assert fit.spec.folder.endswith(trial_folder(0, attempt + 1))
        assert len(fit.history) == 1
        one.driver.placed(0)
    said = "trial 0: its node is gone; it goes on from its checkpoint of epoch 1"
    assert one.session.said == [said] * 3
    one.driver.worker_failures[0] = 2
    one.driver.node_lost(0, "its process cannot be reached")
    assert one.session.history.state.trial(0).reason == (
        "its process was lost 2 times on nodes that live; now its process cannot be reached"
    )


def test_when_all_processes_are_gone_all_trials_go_on(tmp_path: Path) -> None:
    one = OneTrial(Study(tmp_path), total=2)
    other = one.next()
    one.fit.reports()
    one.driver.place_again()
    assert (one.status, one.driver.live, one.driver.agenda.queue) == (
        "paused",
        {},
        [0, other.number],
    )
    assert not one.driver.worker_failures


# Memory


def test_a_trial_without_room_is_tried_again_alone_when_all_others_are_done(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path, fates={1: "finds no room"})
    session = study.session()
    driver = session.search(3)
    session.play(driver)
    state = session.history.state
    assert [t.status for t in state.trials()] == ["finished", "paused", "finished"]
    assert state.trial(1).reason == "out of memory"
    assert session.said == [
        "trial 1: out of memory; it will be tried again alone, with the whole device"
    ]
    assert driver.agenda.begin_alone()
    session.play(driver)
    trial = state.trial(1)
    assert (trial.status, trial.reason, trial.epoch) == ("infeasible", "out of memory", 2)
    assert not driver.agenda.begin_alone()
    assert [e.number for e in study.events() if isinstance(e, Proposed)] == [0, 1, 2]


def test_a_trial_whose_first_message_is_that_there_is_no_room_has_its_places(
    one: OneTrial,
) -> None:
    """Or nobody could say of what machine's memory it had too little."""
    one.fit.train()
    one.fit.says(out_of_memory="out of memory")
    assert (one.status, len(one.events(Placed))) == ("paused", 1)
    one.driver.agenda.begin_alone()
    again = one.next()
    again.train()
    assert again.says(out_of_memory="out of memory") is Verdict.STOP
    trial = one.study.folded().trial(0)
    assert (trial.status, trial.epoch, len(trial.placements)) == ("infeasible", 1, 2)


def test_a_trial_that_has_room_alone_finishes(tmp_path: Path) -> None:
    study = Study(tmp_path, fates={0: "finds no room"})
    session = study.session()
    driver = session.search(1)
    session.play(driver)
    study.fates.clear()
    assert driver.agenda.begin_alone()
    session.play(driver)
    assert session.history.state.trial(0).status == "finished"


# When it stops


def test_the_session_ends_when_the_target_is_reached_and_proposes_no_more(tmp_path: Path) -> None:
    study = Study(tmp_path)
    session = study.session()
    driver = session.search(9, target=-100.0)
    session.play_all(driver)
    assert driver.agenda.stop is not None
    assert driver.agenda.stop.kind == "target"
    assert [t.status for t in session.history.state.trials()] == ["finished"]


def test_a_plateau_counts_the_endings_of_earlier_sessions(tmp_path: Path) -> None:
    study = Study(tmp_path, fates=dict.fromkeys((1, 2, 3), "fails"))
    session = study.session()
    session.play(session.search(3))
    session.end()
    session = study.session()
    driver = session.search(9, plateau=3)
    session.play(driver)
    assert driver.agenda.stop == Stop("plateau", "no better trial among the last 3")
    assert session.history.state.next_number == 4


def test_a_session_whose_first_trials_all_fail_is_given_up(tmp_path: Path) -> None:
    session = Study(tmp_path, fates=dict.fromkeys(range(9), "fails")).session()
    driver = session.search(9)
    session.play(driver)
    reason = "the first 5 trials failed: loss nan in epoch 3"
    assert driver.agenda.stop == Stop("failures", reason)


def test_after_an_interruption_nothing_is_begun_and_what_runs_is_left(one: OneTrial) -> None:
    one.fit.reports()
    one.driver.agenda.halt(Stop("interrupted", "interrupted"))
    assert (one.driver.agenda.should_stop(), one.driver.agenda.was_cut_short()) == (True, True)
    assert one.driver.next() is Nothing.DONE
    one.driver.finish()
    assert (one.status, one.driver.live) == ("paused", {})
    assert one.study.folded().trial(0).epoch == 1


def test_ctrl_c_in_the_middle_of_an_append_is_no_trouble(tmp_path: Path) -> None:
    log = MortalLog()
    one = OneTrial(Study(tmp_path, log))
    one.fit.reports()
    log.appends_left = 0
    with pytest.raises(Killed):
        one.fit.reports(EPOCHS - 1)
    log.appends_left = None
    one.driver.agenda.halt(Stop("interrupted", "interrupted"))
    before = list(log.lines)
    one.driver.idle()
    one.driver.finish()
    assert one.driver.agenda.stop == Stop("interrupted", "interrupted")
    assert log.lines == before
    assert one.study.folded().trial(0).status == "waiting"


def test_in_trouble_no_ending_counts(one: OneTrial) -> None:
    """A full disk makes fits fail that are not to blame."""
    one.fit.reports()
    one.driver.agenda.abort(OSError(28, "No space left on device"))
    one.driver.failed(0, "it could not write")
    assert one.driver.agenda.stop == Stop("system_error", "No space left on device")
    assert (one.status, one.events(Ended)) == ("paused", [])
    one.driver.agenda.halt(Stop("interrupted", "interrupted"))
    assert one.driver.agenda.stop == Stop("system_error", "No space left on device")


def test_trouble_where_a_trial_runs_ends_the_session_and_leaves_the_trial(one: OneTrial) -> None:
    one.fit.reports()
    one.driver.system_error(0, OSError(28, "No space left on device"))
    assert one.driver.agenda.stop == Stop("system_error", "No space left on device")
    assert (one.status, one.driver.live) == ("paused", {})
    one.driver.system_error(0, OSError(5, "Input/output error"))
    assert one.driver.next() is Nothing.DONE


def test_in_trouble_a_trial_that_did_its_last_epoch_goes_on_later(one: OneTrial) -> None:
    one.driver.agenda.abort(OSError(28, "No space left on device"))
    assert one.fit.reports(EPOCHS) is Verdict.STOP
    assert (one.status, one.driver.live) == ("paused", {})


def test_a_trial_without_a_sign_of_life_is_found(one: OneTrial) -> None:
    one.study.clock.seconds = 50.0
    one.fit.reports()
    one.study.clock.seconds = 100.0
    assert (one.driver.silent(50.0), one.driver.silent(49.0)) == ([], [0])
    one.driver.live[0].placed = None
    assert one.driver.silent(0.0) == [], "who waits for a place has nothing to say"


def test_reports_are_written_though_nothing_else_happens(one: OneTrial) -> None:
    one.fit.reports()
    one.study.clock.seconds = 4.0
    one.driver.idle()
    assert one.study.folded().trial(0).epoch == 0
    one.study.clock.seconds = 6.0
    one.driver.idle()
    assert one.study.folded().trial(0).epoch == 1


# The race of the finals


def raced(study: Study, seeds: int = 5) -> tuple[Session, Driver]:
    """The finals of a search of four trials: trial 3 leads, 0 and 1 are clearly behind."""
    session = study.session()
    session.play_all(session.search(4))
    return session, session.finals(2, seeds)


def test_who_is_clearly_behind_is_dropped_together_with_the_end_that_shows_it(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path)
    session, finals = raced(study)
    assert finals.agenda.total == 15
    session.play_all(finals)
    roles = [t.role for t in study.folded().with_role(Replicate)]
    round_by_round = [Replicate(of, seed) for seed in (1, 2, 3) for of in (3, 1, 0)]
    assert roles == [*round_by_round, Replicate(3, 4), Replicate(3, 5)]
    assert (finals.agenda.total, finals.agenda.ended, finals.agenda.is_done()) == (11, 11, True)
    (together,) = [group for group in grouped(study) if "Dropped" in group]
    assert together[-4:] == ["Ended", "Dropped", "Dropped", "Proposed"]
    reasons = {trial.number: trial.dropped for trial in study.folded().search() if trial.dropped}
    assert reasons[1] == (
        "after 3 seeds its mean validation/r2 is 0.7379, that of trial 3 is 0.8176: worse with "
        "p = 0.0094, below 0.0125, this round's share of 5%"
    )
    assert set(reasons) == {0, 1}
    told = [trial.number for trial in session.seen.trials if trial.dropped]
    assert sorted(told) == [0, 1], "observers hear of each once"
    session.end()
    assert study.tracker.trials[1].dropped == reasons[1]


def test_what_is_under_way_of_the_dropped_finishes_and_nothing_of_them_is_begun(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path)
    session, finals = raced(study)
    begun: list[Fit] = []
    while not isinstance(trial := finals.next(), Nothing):
        begun.append(Fit(session, finals, finals.begin(trial)))
        if len(begun) == 4:  # as many run at once
            begun.pop(0).run()
    for fit in begun:
        fit.run()
    counts = Counter(t.replicate_of for t in study.folded().with_role(Replicate))
    assert counts == {3: 5, 1: 4, 0: 4}
    assert {t.status for t in study.folded().with_role(Replicate)} == {"finished"}
    assert {t.number for t in study.folded().search() if t.dropped} == {0, 1}


def test_a_drop_that_the_log_has_not_is_made_up_for_before_anything_is_begun(
    tmp_path: Path,
) -> None:
    """Whoever lost it, such as a version that did not race: the endings are there, the drops are
    not."""
    study = Study(tmp_path)
    session, finals = raced(study)
    finals.agenda.proposer.race = False  # pyright: ignore[reportAttributeAccessIssue]
    session.play(finals, 10)
    finals.finish()
    session.end()
    study.log.lines.pop()  # pyright: ignore[reportAttributeAccessIssue]
    events = study.events()
    while not isinstance(events[-1], Ended):
        events.pop()
    study.log = MemoryLog()
    study.log.append(events)
    assert not any(trial.dropped for trial in study.folded().trials())
    later = study.session()
    trial = later.finals(2, 5).next()
    assert not isinstance(trial, Nothing)
    assert trial.role == Replicate(3, 5)
    assert {t.number for t in later.seen.trials if t.dropped} == {0, 1}
    assert grouped(study)[-1] == ["Dropped", "Dropped", "Proposed"]


def test_two_seeds_leave_nothing_to_race_for(tmp_path: Path) -> None:
    study = Study(tmp_path)
    session, finals = raced(study, seeds=2)
    session.play_all(finals)
    assert finals.agenda.ended == 6
    assert not any(trial.dropped for trial in study.folded().trials())


# Observers


def test_observers_hear_of_every_change_once_it_is_written(tmp_path: Path) -> None:
    one = OneTrial(Study(tmp_path, fates={0: "dies once"}))
    one.fit.run()
    one.next().run()
    told = [(t.number, t.status, t.epoch) for t in one.session.seen.trials]
    assert told == [
        (0, "waiting", 0),
        (0, "running", 1),
        (0, "paused", 1),
        (0, "paused", 1),
        (0, "running", 2),
        (0, "running", 3),
        (0, "running", 4),
        (0, "finished", 5),
    ]


def test_trouble_of_an_observer_ends_the_session(one: OneTrial) -> None:
    class Broken:
        def changed(self, trial: object) -> None:
            raise OSError(5, "Input/output error")

    one.driver.observers = (Broken(),)
    one.fit.run()
    assert one.driver.agenda.stop == Stop("system_error", "Input/output error")
    one.driver.finish()
    assert one.study.folded().trial(0).status == "paused"


# Checkpoints


def test_of_a_damaged_checkpoint_it_is_said_and_the_one_before_is_taken(tmp_path: Path) -> None:
    study = Study(tmp_path)
    one = OneTrial(study)
    for _ in range(2):
        one.fit.reports()
    one.driver.finish()
    name = "session-0001/trial-00000/checkpoint_000002"
    (study.root / name / "state.pt").write_bytes(b"half")
    again = OneTrial(study)
    assert again.session.said == [f"trial 0: its checkpoint {name} is damaged or cut off"]
    assert len(again.fit.history) == 1
    again.fit.run()
    trial = again.session.history.state.trial(0)
    assert (trial.status, [r.epoch for r in trial.reports]) == ("finished", [1, 2, 3, 4, 5])


def test_a_checkpoint_of_another_configuration_is_not_gone_on_from(tmp_path: Path) -> None:
    study = Study(tmp_path)
    one = OneTrial(study)
    one.fit.reports()
    one.driver.finish()
    name = "session-0001/trial-00000/checkpoint_000001"
    other = asdict(replace(one.fit.spec.config, seed=7))
    write_checkpoint(study.root / name, one.fit.history, other)
    again = OneTrial(study)
    (said,) = again.session.said
    assert said.startswith(f"trial 0: its checkpoint {name} is of another configuration")
    assert again.fit.history == []


def test_without_any_checkpoint_a_trial_begins_anew(tmp_path: Path) -> None:
    study = Study(tmp_path)
    one = OneTrial(study)
    one.fit.reports(2)
    one.driver.finish()
    shutil.rmtree(str(study.root))
    again = OneTrial(study)
    again.fit.reports()
    trial = again.session.history.state.trial(0)
    assert (trial.status, [r.epoch for r in trial.reports]) == ("running", [1])


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


def test_which_checkpoints_of_a_trial_are_there_is_known_while_it_runs(one: OneTrial) -> None:
    for _ in range(4):
        one.fit.reports()
        there = Checkpoints(one.study.root).of_trial(0)
        assert one.session.checkpoints.of_trial(0) == there


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
    one.fit.reports()
    log.is_taken = True
    before = list(log.lines)
    find_out(one, moment)
    text = "another driver went on with the study in s3://b: this one stops"
    assert one.driver.agenda.stop == Stop("system_error", text)
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
            one.driver.idle()
        case "ending":
            assert one.fit.reports(EPOCHS - 1) is Verdict.STOP
        case "proposal":
            assert one.driver.next() is Nothing.DONE
        case _:
            one.driver.finish()


def leave_more_checkpoints_than_are_kept(one: OneTrial) -> None:
    for epoch in (7, 8, 9):
        name = f"session-0001/{trial_folder(0)}/checkpoint_{epoch:06d}"
        config = asdict(one.fit.spec.config)
        write_checkpoint(one.study.root / name, one.fit.history, config)
        one.session.checkpoints.saved(0, name)


def do_all_that_writes(one: OneTrial) -> None:
    one.session.retention.staying = set()
    one.heard(*range(one.fit.told + 1, EPOCHS + 1))
    one.driver.place_again()
    assert one.driver.next() is Nothing.DONE
    one.driver.idle()
    one.driver.finish()


def files(study: Study) -> list[str]:
    return sorted(map(str, study.root.rglob("state.pt")))


class Full(MemoryLog):
    """A log on a disk that may be full."""

    is_full = False

    def append(self, group: Any) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        super().append(group)


def test_a_log_that_takes_no_more_ends_the_session_and_loses_no_trial(tmp_path: Path) -> None:
    log = Full()
    study = Study(tmp_path, log)
    one = OneTrial(study)
    one.fit.reports(EPOCHS - 1)
    log.is_full = True
    assert one.fit.reports() is Verdict.STOP
    assert one.driver.agenda.stop == Stop("system_error", "No space left on device")
    assert one.session.seen.trials[-1].status == "running", "nobody hears of the ending"
    one.driver.finish()
    one.session.projection.finish(patience=0.0)
    assert 0 not in study.tracker.trials or study.tracker.trials[0].status == "running"
    log.is_full = False
    session: Session = study.session()
    driver: Driver = session.search(1)
    session.play_all(driver)
    trial = study.folded().trial(0)
    assert (trial.status, trial.epoch) == ("finished", EPOCHS)
    assert len([e for e in study.events() if isinstance(e, SessionBegan)]) == 2


def test_a_trial_stops_after_a_message_that_the_log_does_not_take(tmp_path: Path) -> None:
    """Or it would train to its last epoch, and beyond, for nothing."""
    log = Full()
    one = OneTrial(Study(tmp_path, log), total=2)
    one.fit.reports()
    log.is_full = True
    one.study.clock.seconds = 10.0
    assert one.fit.reports() is Verdict.STOP
    assert (one.driver.live, one.driver.is_any_placed()) == ({}, False)


def test_a_trial_whose_proposal_the_log_does_not_take_is_not_run(tmp_path: Path) -> None:
    log = Full()
    one = OneTrial(Study(tmp_path, log), total=2)
    log.is_full = True
    assert one.driver.next() is Nothing.DONE
    assert one.driver.agenda.stop == Stop("system_error", "No space left on device")
