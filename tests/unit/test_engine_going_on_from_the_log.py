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
from engine.driver import Driver, Nothing
from record.events import Dropped, Ended, Proposed
from record.log import Log
from record.state import StudyState
from record.tracker import MemoryTracker
from record.trial import Replicate, Trial

TRIALS, FINALISTS, SEEDS = 7, 1, 2

APPENDS = 17
"""How often the log is appended to if nothing cuts the study off."""

FATES: dict[int, Fate] = {
    2: "is poor",
    3: "dies once",
    4: "fails",
    5: "finds no room",
    6: "dies",
    8: "fails",
}
"""What becomes of the trials, finals among them: each ending once."""

EVERY = 2
"""Epochs of a message, where no rung cuts it."""

Outcome = list[tuple[Any, ...]]


def study_in(folder: Path, log: Log | None = None) -> Study:
    """A study in which everything happens, and nothing yet has."""
    return Study(folder, log, FATES, every=EVERY, stops_early=True)


def outcome(state: StudyState) -> Outcome:
    """All that a study came to, but where and when."""
    return [
        (*(t.number, t.role, t.config, t.drawn, t.inactive), t.status, t.reason, t.dropped)
        for t in state.trials()
    ] + [tuple(t.reports) for t in state.trials()]


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
    study = study_in(tmp_path_factory.mktemp("whole"), MortalLog())
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
    study = study_in(tmp_path, log)
    with pytest.raises(Killed):
        go_on(study)
    log.appends_left = None
    go_on(study)
    agree(study, whole)


MOMENTS: Mapping[Moment, int] = {
    "before a checkpoint": 25,
    "after a checkpoint": 25,
    "a change is told": 46,
}
"""Moment -> how often it comes if nothing cuts the study off."""


@pytest.mark.parametrize(
    ("moment", "times"),
    [(moment, times) for moment in MOMENTS for times in range(0, MOMENTS[moment], 2)],
)
def test_a_driver_that_is_killed_beside_an_append_loses_nothing(
    whole: Study, tmp_path: Path, moment: Moment, times: int
) -> None:
    study = study_in(tmp_path)
    study.death = Death(moment, times)
    with pytest.raises(Killed):
        go_on(study)
    go_on(study)
    agree(study, whole)


def test_a_driver_that_is_killed_again_and_again_loses_nothing(
    whole: Study, tmp_path: Path
) -> None:
    log = MortalLog()
    study = study_in(tmp_path, log)
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


# The race of the finals

DROPPED = [2, 0]
RACED = 18
"""How often the log is appended to in a race that nothing cuts off."""


def race_on(study: Study) -> None:
    """One process plays a search and a race of three finalists, or what is left of them."""
    session = study.session()
    try:
        session.retention.sweep()
        session.play_all(session.search(4))
        session.play_all(session.finals(3, 5))
    except Killed:
        session.projection.finish(patience=0.0)
        raise
    session.end()


@pytest.fixture(scope="module")
def race(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The race that nothing cuts off."""
    study = Study(tmp_path_factory.mktemp("race"), MortalLog(), every=3)
    race_on(study)
    return study


def drops(study: Study) -> list[tuple[int, str]]:
    return [(e.number, e.reason) for e in study.events() if isinstance(e, Dropped)]


def test_the_race_has_drops(race: Study) -> None:
    """Or the others would show little."""
    assert [number for number, _ in drops(race)] == DROPPED
    assert len(race.log.lines) == RACED  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("is_written", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("place", range(RACED))
def test_a_race_that_is_cut_off_at_an_append_comes_to_the_same_drops(
    race: Study, tmp_path: Path, place: int, is_written: bool
) -> None:
    log = MortalLog()
    log.appends_left, log.is_written_first = place, is_written
    study = Study(tmp_path, log, every=3)
    with pytest.raises(Killed):
        race_on(study)
    log.appends_left = None
    race_on(study)
    agree(study, race)
    assert drops(study) == drops(race)


def test_the_events_of_a_race_may_end_anywhere(race: Study, tmp_path: Path) -> None:
    """Also between an ending and the drop that follows from it, which are written together."""
    events = race.events()
    first = next(place for place, each in enumerate(events) if isinstance(each, Dropped))
    for cut in range(first - 1, len(events)):
        study = Study(tmp_path / str(cut), every=3)
        study.log.append(events[:cut])
        race_on(study)
        assert sorted(drops(study)) == sorted(drops(race))
        assert outcome(study.folded()) == outcome(race.folded())


# Sessions that end well before the study does


@pytest.mark.parametrize("stops", [(1,), (3,), (6,), (2, 2, 2), (7, 1), (7, 2, 1), (5, 3, 1)])
def test_sessions_one_after_the_other_come_to_what_one_comes_to(
    whole: Study, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    """Each is ended after so many runs of trials, in the search or in the finals."""
    study = study_in(tmp_path, MortalLog())
    for runs in stops:
        session = study.session()
        search = session.search(TRIALS)
        play_some(session, search, runs)
        if search.agenda.is_done():
            play_some(session, session.finals(FINALISTS, SEEDS), 1)
        session.end()
    go_on(study)
    agree(study, whole)


def play_some(session: Session, driver: Driver, runs: int) -> None:
    driver.agenda.begin_alone()
    session.play(driver, runs)
    driver.finish()


def test_a_trial_that_a_session_leaves_goes_on_with_its_next_epoch(tmp_path: Path) -> None:
    study = Study(tmp_path)
    session = study.session()
    driver = session.search(1)
    fit = begun(session, driver)
    fit.reports()
    fit.train()
    driver.finish()
    session.end()
    assert study.folded().trial(0).status == "paused"
    later = study.session()
    driver = later.search(1)
    again = begun(later, driver)
    assert (again.number, len(again.history)) == (0, 1)
    assert again.spec.folder == str(study.root / "session-0002" / "trial-00000")
    again.run()
    trial = later.history.state.trial(0)
    assert (trial.status, len(trial.placements)) == ("finished", 2)
    assert [report.epoch for report in trial.reports] == [1, 2, 3, 4, 5]


def begun(session: Session, driver: Driver) -> Fit:
    trial = driver.next()
    assert not isinstance(trial, Nothing)
    fit = Fit(session, driver, driver.begin(trial))
    driver.placed(fit.number)
    return fit


@pytest.mark.parametrize("messages", [(1,), (1, 1), (2, 2), (4,)])
def test_the_log_catches_up_with_a_checkpoint(tmp_path: Path, messages: tuple[int, ...]) -> None:
    """The driver is killed while the reports wait to be written."""
    study = Study(tmp_path)
    session = study.session()
    fit = begun(session, session.search(1))
    for epochs in messages:
        fit.reports(epochs)
    assert study.folded().trial(0).reports == ()
    before = session.history.state.trial(0).reports
    session.projection.finish(0.0)
    trial = played_on(study)
    assert tuple(trial.reports)[: sum(messages)] == tuple(before)
    assert (trial.status, trial.epoch, len(trial.placements)) == ("finished", EPOCHS, 1)


@pytest.mark.parametrize("heard", [0, 1, 3])
def test_a_trial_that_was_killed_after_its_last_checkpoint_only_ends(
    tmp_path: Path, heard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(tmp_path)
    session = study.session()
    fit = begun(session, session.search(1))
    if heard:
        fit.reports(heard)
    while len(fit.history) < EPOCHS:
        fit.train()
    fit.save()
    session.projection.finish(0.0)
    monkeypatch.setattr(Fit, "train", None)
    trial = played_on(study)
    assert (trial.status, [r.epoch for r in trial.reports]) == ("finished", [1, 2, 3, 4, 5])
    assert len(study.folded().trial(0).placements) == 1


def played_on(study: Study) -> Trial:
    """The one trial of a study that another session brings to its end."""
    later = study.session()
    later.play_all(later.search(1))
    trial = later.history.state.trial(0)
    assert study.folded().trials() == (trial,)
    return trial


def test_who_died_in_one_session_may_die_as_often_in_the_next(tmp_path: Path) -> None:
    study = Study(tmp_path, fates={0: "dies"})
    for _ in range(2):
        session = study.session()
        driver = session.search(1)
        begun(session, driver).run()
        assert driver.worker_failures == {0: 1}
        driver.finish()
        session.end()
    assert study.folded().trial(0).status == "paused"


def test_a_trial_without_room_is_tried_beside_others_in_the_next_session(tmp_path: Path) -> None:
    study = Study(tmp_path, fates={0: "finds no room"})
    session = study.session()
    driver = session.search(2)
    session.play(driver, 1)
    assert (driver.agenda.oom_retries, driver.agenda.queue) == ([0], [])
    driver.finish()
    session.end()
    later = study.session()
    assert later.search(2).agenda.queue == [0]


def test_the_search_goes_on_after_its_finals_as_if_there_had_been_none(
    whole: Study, tmp_path: Path
) -> None:
    study = Study(tmp_path, fates={2: "is poor"}, stops_early=True)
    session = study.session()
    session.play_all(session.search(4))
    session.play_all(session.finals(1, 1))
    session.play_all(session.search(12))
    session.end()
    alone = Study(tmp_path / "alone", fates={2: "is poor"}, stops_early=True)
    other = alone.session()
    other.play_all(other.search(12))
    other.end()
    configs = [[t.config for t in each.folded().search()] for each in (study, alone)]
    assert configs[0] == configs[1]
    assert study.folded().next_number == 12 + len(study.folded().with_role(Replicate))
