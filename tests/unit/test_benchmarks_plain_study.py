"""The benchmark of the whole study: its plan and its accounts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from happened import at, began, ended, placed, proposed, report

from benchmarks.breakdown import (
    AFTER,
    BEFORE,
    EMPTY,
    OTHER,
    PARTS,
    STARTED,
    TRAINING,
    StudyRun,
    TrialRun,
    of_log,
    of_notes,
)
from benchmarks.plain_notes import ASKED, Notes
from benchmarks.plain_study import Plan, _parsed, check_same
from benchmarks.rounds import Disagreement
from benchmarks.stock import mirrored
from benchmarks.study_tables import apart, best_table, outlook
from record.events import Reported
from trainables.models.gnn import GNNConfig


def trial(begun: float, r2: float = 0.5, **config: Any) -> TrialRun:
    """A trial of nine seconds, four of which it trains."""
    return TrialRun(config, begun, begun + 9, training=4, r2=[r2])


def run(*trials: TrialRun) -> StudyRun:
    """A study on two slots: launched at 0, its first trial asked for at 5, gone at 40."""
    return StudyRun(0, 5, 40, 2, trials)


THREE = run(trial(7), trial(8), trial(17))


def test_the_parts_add_up_to_the_wall_time() -> None:
    parts = THREE.parts()
    assert tuple(parts) == PARTS
    assert sum(parts.values()) == pytest.approx(THREE.wall)


def test_a_second_of_a_slot_belongs_to_what_its_trial_did() -> None:
    parts = THREE.parts()
    assert parts[BEFORE] == 5
    assert parts[STARTED] == pytest.approx((2 + 3 + 1) / 2)  # the third after the first, at 16
    assert parts[TRAINING] == pytest.approx(3 * 4 / 2)
    assert parts[OTHER] == pytest.approx(3 * 5 / 2)
    assert parts[EMPTY] == pytest.approx((26 - 17) / 2)
    assert parts[AFTER] == 40 - 26


def test_the_order_of_the_trials_does_not_matter() -> None:
    assert replace(THREE, trials=THREE.trials[::-1]).parts() == THREE.parts()


def test_the_log_tells_when_trials_began_what_they_trained_and_when_they_ended() -> None:
    epochs = [report(epoch, 0.1 * epoch, **{"train/seconds": 2.5}) for epoch in (1, 2)]
    events = [
        began(),
        proposed(0, width=8),
        placed(0),
        Reported(0, tuple(epochs), "checkpoint"),
        ended(0),
    ]
    asked, (found,) = of_log(events)
    moments = {type(event).__name__: getattr(event, "at", at(0)) for event in events}
    assert asked == moments["Proposed"].timestamp()
    assert found.begun == moments["Placed"].timestamp()
    assert found.ended == moments["Ended"].timestamp()
    assert found.training == 5.0
    assert found.r2 == [pytest.approx(0.1), pytest.approx(0.2)]
    assert found.config["width"] == 8


def test_the_notes_of_all_processes_tell_the_same_of_the_plain_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes(tmp_path / "notes")
    moments = iter([100.0, 110.0, 120.0, 130.0])
    monkeypatch.setattr("time.time", lambda: next(moments))
    notes.asked()
    notes.asked()  # the second is no first one, and takes no moment
    notes.epoch("a", {"width": 8}, begun=101.0, training=2.0, r2=0.1)
    monkeypatch.setattr("os.getpid", lambda: 1)
    notes.epoch("b", {"width": 16}, begun=102.0, training=4.0, r2=0.3)
    monkeypatch.undo()
    asked, trials = of_notes(tmp_path / "notes")
    assert asked == 100.0
    by_width = {each.config["width"]: each for each in trials}
    assert by_width[8] == TrialRun({"width": 8}, 101.0, 110.0, 2.0, (0.1,))
    assert by_width[16] == TrialRun({"width": 16}, 102.0, 120.0, 4.0, (0.3,))


def test_a_trial_of_the_plain_way_ends_with_its_last_epoch(tmp_path: Path) -> None:
    (tmp_path / ASKED).write_text("1.0")
    notes = Notes(tmp_path)
    for r2 in (0.1, 0.2):
        notes.epoch("a", {}, begun=2.0, training=3.0, r2=r2)
    _, (found,) = of_notes(tmp_path)
    assert found.training == 6.0
    assert list(found.r2) == [0.1, 0.2]


def test_r2_is_compared_between_trials_of_one_configuration() -> None:
    ours = run(trial(7, r2=0.5, width=1), trial(8, r2=0.9, width=2))
    plain = run(trial(7, r2=0.3, width=2), trial(8, r2=0.4, width=1))
    assert sorted(apart(ours, plain)) == pytest.approx([0.1, 0.6])


def test_the_time_to_the_best_of_the_plain_way_counts_from_the_launch() -> None:
    ours = run(trial(7, r2=0.4), trial(8, r2=0.6), trial(20, r2=0.9))
    plain = run(trial(7, r2=0.5), trial(21, r2=0.6))
    assert plain.seconds_to(plain.best) == 30
    assert ours.seconds_to(plain.best) == 17
    row = best_table([ours], [plain]).splitlines()[2]
    assert [cell.strip() for cell in row.split("|")[2:5]] == ["17", "30", "1.76"]
    never = best_table([run(trial(7, r2=0.5))], [plain]).splitlines()[2]
    assert [cell.strip() for cell in never.split("|")[2:5]] == ["inf", "30", "0"]


def test_a_trial_that_was_stopped_early_is_no_best_one() -> None:
    early = TrialRun({}, 7, 8, training=1, r2=[0.99])
    whole = TrialRun({}, 7, 20, training=2, r2=[0.5, 0.6])
    assert run(early, whole).best == 0.6
    assert run(early, whole).seconds_to(0.6) == 20


def test_sides_that_ran_other_configurations_are_refused() -> None:
    plan = Plan([GNNConfig()], [{}])
    check_same(plan, [run(trial(7, **vars(GNNConfig())))])
    with pytest.raises(Disagreement, match="same configurations"):
        check_same(plan, [run(trial(7, width=1))])


def test_what_five_times_would_take() -> None:
    half = run(trial(7), trial(8))
    assert "the rest alone takes longer" in outlook([half], [half])
    assert "training 1.1 times as fast would do" in outlook([half], [replace(half, ended=198)])
    assert "it is there" in outlook([half], [replace(half, ended=200)])


def test_the_plan_is_the_defaults_and_then_draws_with_the_seed() -> None:
    typed = ["--trials", "8", "--epochs", "3"]
    plan = Plan.of(_parsed(typed))
    assert plan == Plan.of(_parsed(typed))
    assert plan.configs[:5] == [GNNConfig(family=family, epochs=3) for family in mirrored()]
    assert len(plan.points) == len(plan.configs) == 8
    other = Plan.of(_parsed([*typed, "--seed", "1"]))
    assert other.configs[:5] == plan.configs[:5]
    assert other.configs[5:] != plan.configs[5:]


def test_searches_of_their_own_share_the_defaults_only() -> None:
    plan = Plan.of(_parsed(["--trials", "8", "--configurations", "searched"]))
    assert [config.family for config in plan.configs] == mirrored()
