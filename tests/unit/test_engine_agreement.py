"""What MLflow shows otherwise than the log has it is found, and told again."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from happened import at, began, ended, ended_session, placed, proposed, report, reported, story
from tracker_contract import FACTS

from engine.agreement import DELETED, Finding, at_rest, compare, repair
from record.events import Discarded, Event
from record.log import MemoryLog
from record.state import StudyState, fold
from record.tracker import MemoryTracker, NotRecorded, sync
from record.trial import Report


class Known:
    """A study, and what is shown of it."""

    def __init__(self, *groups: list[Event]) -> None:
        self.log = MemoryLog()
        for group in groups:
            self.log.append(group)
        self.tracker = MemoryTracker()
        self.tracker.begin(FACTS)
        sync(self.tracker, fold(self.log.read()))

    @property
    def state(self) -> StudyState:
        return at_rest(fold(self.log.read()))

    def show(self, number: int, *reports: Report, **other: object) -> None:
        """Shows a trial otherwise than it was told."""
        shown = replace(self.tracker.trials[number], **other)  # pyright: ignore[reportArgumentType]
        self.tracker.trials[number] = shown.with_reports(reports or shown.reports)

    def findings(self) -> list[str]:
        return [str(found) for found in compare(self.tracker, self.state).findings]

    def repair(self) -> None:
        repair(self.tracker, self.state, compare(self.tracker, self.state).findings)


def whole() -> Known:
    """A study that ended, and is shown as it is."""
    known = Known(story())
    known.tracker.close("FINISHED", {})
    return known


def lost(known: Known) -> None:
    del known.tracker.trials[2]


def of_nobody(known: Known) -> None:
    known.tracker.trials[77] = replace(known.tracker.trials[1], number=77)


def doubled(known: Known) -> None:
    known.tracker.doubles.add(1)


def other_status(known: Known) -> None:
    known.show(1, status="finished")


def other_role(known: Known) -> None:
    known.show(3, role=known.tracker.trials[1].role)


def last_epochs_missing(known: Known) -> None:
    known.show(0, report(1))


def first_epoch_missing(known: Known) -> None:
    known.show(0, report(2), report(3, 0.75))


def epoch_twice(known: Known) -> None:
    known.show(1, report(1), report(2), replace(report(2), unix_ms=1))


def epoch_too_many(known: Known) -> None:
    known.show(1, report(1), report(2), report(3))


def other_number(known: Known) -> None:
    known.show(1, report(1), report(2, 0.999))


def number_missing(known: Known) -> None:
    known.show(1, report(1), replace(report(2), metrics={}))


def number_too_many(known: Known) -> None:
    known.show(1, report(1, loss=0.1), report(2))


def other_memory(known: Known) -> None:
    known.show(1, report(1), replace(report(2), memory_gib=3.0))


def left_running(known: Known) -> None:
    known.tracker.status = "RUNNING"


def ended_otherwise(known: Known) -> None:
    known.tracker.status = "KILLED"


PLANTED: dict[Callable[[Known], None], str] = {
    lost: "trial 2: MLflow has no run of it; to repair: tell MLflow what the log says",
    of_nobody: "trial 77: MLflow has a run of it, the log does not know it; to repair: move the "
    "run to MLflow's deleted ones",
    doubled: "trial 1: MLflow has another run of it; to repair: move the other one to MLflow's "
    "deleted ones",
    other_status: "trial 1: status; to repair: tell MLflow what the log says",
    other_role: "trial 3: role; to repair: tell MLflow what the log says",
    last_epochs_missing: "trial 0: MLflow lacks epochs [2, 3] of 3; to repair: tell MLflow what "
    "the log says",
    first_epoch_missing: "trial 0: MLflow lacks epochs [1] of 3; to repair: move the run to "
    "MLflow's deleted ones and record it anew from the log",
    epoch_twice: "trial 1: MLflow has epochs [2] twice; to repair: move the run to MLflow's "
    "deleted ones and record it anew from the log",
    epoch_too_many: "trial 1: MLflow has epochs [3], the log does not; to repair: move the run to "
    "MLflow's deleted ones and record it anew from the log",
    other_number: "trial 1: validation/r2 of epoch 2 is 0.999 in MLflow, 0.5 in the log; to "
    "repair: move the run to MLflow's deleted ones and record it anew from the log",
    number_missing: "trial 1: validation/r2 of epoch 2 is missing in MLflow, 0.5 in the log; to "
    "repair: move the run to MLflow's deleted ones and record it anew from the log",
    number_too_many: "trial 1: loss of epoch 1 is 0.1 in MLflow, missing in the log; to repair: "
    "move the run to MLflow's deleted ones and record it anew from the log",
    other_memory: "trial 1: memory_gib of epoch 2 is 3.0 in MLflow, 0.25 in the log; to repair: "
    "move the run to MLflow's deleted ones and record it anew from the log",
    left_running: "the study: its own run is RUNNING, and nobody is running it; to repair: end it "
    "there as the log says",
    ended_otherwise: "the study: its own run is KILLED, in the log FINISHED; to repair: end it "
    "there as the log says",
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_what_is_shown_otherwise_is_found_and_repaired(plant: Callable[[Known], None]) -> None:
    known = whole()
    plant(known)
    shown = dict(known.tracker.trials)
    assert known.findings() == [PLANTED[plant]]
    assert known.tracker.trials == shown, "a look changes nothing"
    known.repair()
    assert known.findings() == []
    assert known.tracker.trials == whole().tracker.trials
    assert known.tracker.status == "FINISHED"


def test_several_things_are_found_and_repaired_at_once() -> None:
    known = whole()
    for plant in (lost, of_nobody, other_number, left_running):
        plant(known)
    assert known.findings() == [PLANTED[p] for p in (left_running, other_number, lost, of_nobody)]
    known.repair()
    assert known.findings() == []


def test_what_agrees_is_counted_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    known = whole()
    found = compare(known.tracker, known.state)
    assert (found.log, found.findings) == ({"finished": 2, "pruned": 1, "failed": 1}, ())
    assert found.mlflow == found.log
    told = known.tracker.told
    repair(known.tracker, known.state, found.findings)
    assert known.tracker.told == told


def test_a_run_that_was_deleted_by_hand_is_none_that_is_missing() -> None:
    known = whole()
    known.tracker.delete(1)
    found = compare(known.tracker, known.state)
    assert found.findings == ()
    assert (found.log["pruned"], found.mlflow) == (1, {"finished": 2, "failed": 1, DELETED: 1})
    lost(known)
    known.repair()
    assert sorted(known.tracker.trials) == [0, 2, 3], "it stays deleted"


def test_a_run_whose_deletion_the_log_knows_is_not_told_again() -> None:
    known = Known([*story(), Discarded(1, at(2000))])
    known.tracker.close("FINISHED", {})
    assert 1 not in known.tracker.trials
    assert known.findings() == []


def test_a_session_that_was_cut_off_left_trials_that_nobody_runs() -> None:
    known = Known([began(), proposed(0), placed(0), reported(0, 1), proposed(1)])
    assert [found.partition(";")[0] for found in known.findings()] == [
        "the study: its own run is RUNNING, and nobody is running it",
        "trial 0: status",
    ]
    assert compare(known.tracker, known.state).log == {"stopped": 1, "waiting": 1}
    known.repair()
    assert known.findings() == []
    assert known.tracker.trials[0].status == "stopped"
    assert known.tracker.status == "KILLED"


def test_a_trial_that_waits_is_not_missing_and_not_to_be_shown() -> None:
    known = Known([began(), proposed(0), proposed(1), ended_session(1, "KILLED")])
    known.tracker.close("KILLED", {})
    assert known.findings() == []
    assert compare(known.tracker, known.state).mlflow == {"waiting": 2}
    # MLflow heard that it was placed, and a crash came before the log was on the disk.
    known.tracker.trials[1] = replace(known.state.trial(1), started=at(1))
    assert known.findings() == [
        "trial 1: MLflow has a run of it, in the log it has not begun; to repair: move the run "
        "to MLflow's deleted ones"
    ]
    known.repair()
    assert known.findings() == []


def test_a_study_that_is_not_shown_at_all_is_left_to_its_own_command() -> None:
    known = whole()
    known.tracker = MemoryTracker()
    found = compare(known.tracker, known.state).findings
    assert found == (Finding(None, "MLflow has no run of it", "begin"),)
    assert not found[0].is_repairable
    repair(known.tracker, known.state, found)
    assert known.tracker.trials == {}


def test_an_infeasible_trial_that_never_had_its_place_is_shown() -> None:
    events = [began(), proposed(0), ended(0, "infeasible"), ended_session()]
    known = Known(events)
    known.tracker.close("FINISHED", {})
    assert known.findings() == []
    del known.tracker.trials[0]
    assert len(known.findings()) == 1


def test_a_store_that_is_away_is_said() -> None:
    known = whole()
    known.tracker.is_away = True
    with pytest.raises(NotRecorded):
        known.findings()
