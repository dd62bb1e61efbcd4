"""A study that is cut off at any moment goes on from its log: nothing is lost, nothing is there
twice, and what is proposed is what would have been proposed."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from played import EPOCHS, Death, Fate, Fit, Killed, Moment, MortalLog, Session, Study

import engine.search_memory
from engine.checkpoints import Checkpoints
from engine.driver import Driver
from record.events import Ended, Proposed
from record.state import StudyState
from record.tracker import MemoryTracker
from record.trial import Replicate, Trial

TRIALS, FINALISTS, SEEDS = 7, 1, 2

APPENDS = 17
"""How often the log is appended to if nothing cuts the study off."""

FATES: dict[int, Fate] = {
    2: "is pruned",
    3: "dies once",
    4: "fails",
    5: "finds no room",
    6: "dies",
    8: "fails",
}
"""What becomes of the trials, finals among them: each ending once."""

Outcome = list[tuple[Any, ...]]


def outcome(state: StudyState) -> Outcome:
    """All that a study came to, but where and when."""
    return [
        (t.number, t.role, t.config, t.drawn, t.inactive, t.status, t.reason, tuple(t.reports))
        for t in state.trials()
    ]


def go_on(study: Study) -> Session:
    """One process plays the search and the finals, or what is left of them."""
    session = study.session()
    try:
        session.retention.sweep()
        search = session.search(TRIALS)
        # As one trial at a time has the whole machine: none is tried again alone.
        search.agenda.begin_alone()
        session.play_all(search)
        finals = session.finals(FINALISTS, SEEDS)
        finals.agenda.begin_alone()
        session.play_all(finals)
    except Killed:
        # The thread does not die with the driver that is killed here.
        session.projection.finish(patience=0.0)
        raise
    session.end()
    return session


@pytest.fixture(scope="module", autouse=True)
def _learns_early() -> Iterator[None]:
    """What is proposed depends on what happened from the fourth trial on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.search_memory, "STARTUP", 3)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study that nothing cuts off."""
    study = Study(tmp_path_factory.mktemp("whole"), MortalLog(), FATES)
    go_on(study)
    return study


def test_the_study_has_all_endings(whole: Study) -> None:
    """Or the others would show little."""
    trials = whole.folded().trials()
    statuses = Counter(trial.status for trial in trials)
    assert set(statuses) == {"finished", "pruned", "failed", "infeasible"}
    assert len(trials) == TRIALS + 2 * SEEDS
    assert sum(isinstance(trial.role, Replicate) for trial in trials) == 2 * SEEDS
    assert len(whole.log.lines) == APPENDS  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("is_written", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("place", range(APPENDS))
def test_a_driver_that_is_killed_at_an_append_loses_nothing(
    whole: Study, tmp_path: Path, place: int, is_written: bool
) -> None:
    log = MortalLog()
    log.appends_left, log.is_written_first = place, is_written
    study = Study(tmp_path, log, FATES)
    with pytest.raises(Killed):
        go_on(study)
    log.appends_left = None
    go_on(study)
    agree(study, whole)


MOMENTS: Mapping[Moment, int] = {
    "before a checkpoint": 23,
    "after a checkpoint": 23,
    "a change is told": 62,
}
"""Moment -> how often it comes if nothing cuts the study off."""


@pytest.mark.parametrize(
    ("moment", "times"),
    [(moment, times) for moment in MOMENTS for times in range(0, MOMENTS[moment], 4)],
)
def test_a_driver_that_is_killed_beside_an_append_loses_nothing(
    whole: Study, tmp_path: Path, moment: Moment, times: int
) -> None:
    study = Study(tmp_path, fates=FATES)
    study.death = Death(moment, times)
    with pytest.raises(Killed):
        go_on(study)
    go_on(study)
    agree(study, whole)


def test_a_driver_that_is_killed_again_and_again_loses_nothing(
    whole: Study, tmp_path: Path
) -> None:
    log = MortalLog()
    study = Study(tmp_path, log, FATES)
    for lives in range(40):
        log.appends_left = 2 + lives % 2
        log.is_written_first = lives % 3 == 0
        try:
            go_on(study)
        except Killed:
            continue
        break
    else:
        pytest.fail("it never came to its end")
    log.appends_left = None
    agree(study, whole)


def agree(study: Study, whole: Study) -> None:
    """A study that was cut off came to what the whole one came to, wherever one looks."""
    state = study.folded()
    assert outcome(state) == outcome(whole.folded())
    assert state.endings == whole.folded().endings
    events = study.events()
    for kind in (Proposed, Ended):
        count = Counter(each.number for each in events if isinstance(each, kind))
        assert set(count.values()) == {1}, f"{kind.__name__} twice"
    shown(study, state)
    assert left(study) == left(whole)


def shown(study: Study, state: StudyState) -> None:
    """The tracker shows the study as it is, also one whose database was lost."""
    assert study.tracker.trials == {trial.number: trial for trial in state.trials()}
    study.tracker = MemoryTracker()
    study.session().end()
    assert study.tracker.trials == {trial.number: trial for trial in state.trials()}


def left(study: Study) -> dict[int, int]:
    """Number -> how many checkpoints are left."""
    known = Checkpoints(study.root)
    numbers = range(study.folded().next_number)
    return {n: len(known.of_trial(n)) for n in numbers if known.of_trial(n)}


def test_what_is_left_is_the_checkpoint_of_each_trial_that_matters(whole: Study) -> None:
    finished = {t.number for t in whole.folded().with_status("finished")}
    assert set(left(whole)) <= finished
    assert set(left(whole).values()) == {1}
    finals = {t.number for t in whole.folded().with_role(Replicate)} & finished
    assert finals <= set(left(whole))


def test_what_is_proposed_depends_on_what_happened(whole: Study, tmp_path: Path) -> None:
    """Or equal proposals would show little."""
    study = Study(tmp_path)
    session = study.session()
    session.play_all(session.search(TRIALS))
    configs = [[t.config for t in each.folded().search()] for each in (study, whole)]
    assert configs[0][:3] == configs[1][:3]
    assert configs[0][-1] != configs[1][-1]


# Sessions that end well before the study does


@pytest.mark.parametrize("stops", [(1,), (3,), (6,), (2, 2, 2), (7, 1), (7, 2, 1), (5, 3, 1)])
def test_sessions_one_after_the_other_come_to_what_one_comes_to(
    whole: Study, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    """Each is ended after so many runs of trials, in the search or in the finals."""
    study = Study(tmp_path, MortalLog(), FATES)
    for runs in stops:
        session = study.session()
        search = session.search(TRIALS)
        play_some(session, search, runs)
        if search.agenda.is_done():
            play_some(session, session.finals(FINALISTS, SEEDS), 1)
        session.end()
    go_on(study)
    agree(study, whole)


def play_some(session: Session, trials: Trials, runs: int) -> None:
    trials.agenda.begin_alone()
    session.play(trials, runs)
    trials.finish()


def test_a_trial_that_a_session_leaves_goes_on_with_its_next_epoch(tmp_path: Path) -> None:
    study = Study(tmp_path)
    session = study.session()
    trials = session.search(1)
    fit = begun(session, trials)
    fit.train()
    fit.save()
    fit.train()
    trials.finish()
    session.end()
    assert study.folded().trial(0).status == "paused"
    later = study.session()
    trials = later.search(1)
    again = begun(later, trials)
    assert (again.number, len(again.history), again.spec.attempt) == (0, 1, 0)
    again.run()
    trial = later.history.state.trial(0)
    assert (trial.status, len(trial.placements)) == ("finished", 2)
    assert [report.epoch for report in trial.reports] == [1, 2, 3]


def begun(session: Session, trials: Trials) -> Fit:
    trial = trials.next()
    assert trial is not None
    fit = Fit(session, trials, trials.begin(trial))
    trials.placed(fit.number)
    return fit


@pytest.mark.parametrize("saved", [1, 2, EPOCHS])
def test_the_log_catches_up_with_a_checkpoint(tmp_path: Path, saved: int) -> None:
    """The driver is killed while the reports wait to be written."""
    study = Study(tmp_path)
    session = study.session()
    fit = begun(session, session.search(1))
    for _ in range(saved):
        fit.train()
        fit.save()
    assert study.folded().trial(0).reports == ()
    before = session.history.state.trial(0).reports
    session.projection.finish(0.0)
    later = study.session()
    trials = later.search(1)
    later.play_all(trials)
    trial: Trial = later.history.state.trial(0)
    assert tuple(trial.reports)[:saved] == tuple(before)
    assert (trial.status, trial.epoch) == ("finished", EPOCHS)
    assert len(trial.placements) == (0 if saved == EPOCHS else 1), "nothing was trained there"
    assert study.folded().trials() == (trial,)


def test_who_died_in_one_session_may_die_as_often_in_the_next(tmp_path: Path) -> None:
    study = Study(tmp_path, fates={0: "dies"})
    for _ in range(2):
        session = study.session()
        trials = session.search(1)
        begun(session, trials).run()
        assert trials.deaths == {0: 1}
        trials.finish()
        session.end()
    assert study.folded().trial(0).status == "paused"


def test_a_trial_without_room_is_tried_beside_others_in_the_next_session(tmp_path: Path) -> None:
    study = Study(tmp_path, fates={0: "finds no room"})
    session = study.session()
    trials = session.search(2)
    session.play(trials, 1)
    assert (trials.agenda.crowded, trials.agenda.queue) == ([0], [])
    trials.finish()
    session.end()
    later = study.session()
    assert later.search(2).agenda.queue == [0]


def test_the_search_goes_on_after_its_finals_as_if_there_had_been_none(
    whole: Study, tmp_path: Path
) -> None:
    study = Study(tmp_path, fates={2: "is pruned"})
    session = study.session()
    session.play_all(session.search(4))
    session.play_all(session.finals(1, 1))
    session.play_all(session.search(12))
    session.end()
    alone = Study(tmp_path / "alone", fates={2: "is pruned"})
    other = alone.session()
    other.play_all(other.search(12))
    other.end()
    configs = [[t.config for t in each.folded().search()] for each in (study, alone)]
    assert configs[0] == configs[1]
    assert study.folded().next_number == 12 + len(study.folded().with_role(Replicate))
