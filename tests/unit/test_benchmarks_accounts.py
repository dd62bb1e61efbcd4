"""The accounts of a study that was disturbed see what was lost."""

from collections.abc import Sequence
from dataclasses import replace
from math import nextafter

import pytest
from happened import at, began, ended, ended_session, placed, proposed, report

from benchmarks.accounts import of_log, of_trials
from benchmarks.typed_study import EPOCHS, TRIALS
from record.events import Ended, Event, Paused, Reported
from record.state import fold


def lived(number: int, epochs: int = EPOCHS, seconds: float = 1.0) -> list[Event]:
    """A trial from its proposal to its end."""
    steps = range(1, epochs + 1)
    taken = {"train/seconds": seconds}
    *saved, last = (report(epoch, 1 - 1 / (number + epoch), **taken) for epoch in steps)
    status = "finished" if epochs == EPOCHS else "pruned"
    return [
        proposed(number, epochs=EPOCHS),
        placed(number),
        Reported(number, tuple(saved), "checkpoint"),
        Ended(number, status, at(100), reports=(last,)),
    ]


def whole(*trials: list[Event]) -> list[Event]:
    """A study of one session."""
    return [began(), *(event for trial in trials for event in trial), ended_session()]


SOUND = whole(*(lived(number) for number in range(TRIALS)))


def of_the_log(events: Sequence[Event], seen: Sequence[Event] = ()) -> list[str]:
    return list(of_log(events, fold(events), seen))


def of_the_trials(*trials: list[Event]) -> list[str]:
    return list(of_trials(fold(whole(*trials)), fold(SOUND)))


def test_nothing_is_wrong_with_a_study_that_lost_nothing() -> None:
    assert of_the_log(SOUND, seen=SOUND[:7]) == []
    stopped_early = lived(TRIALS - 1, epochs=7)
    same = [lived(number, seconds=3.0) for number in range(TRIALS - 1)]
    assert of_the_trials(*same, stopped_early) == []


def test_a_line_that_is_gone_from_the_log_is_seen() -> None:
    seen = [*SOUND[:4], replace(ended(0), reason="it is not in the log any more")]
    assert of_the_log(SOUND, seen) == ["the log has lost what was in it"]


def test_a_study_without_its_end_is_seen() -> None:
    (found,) = of_the_log(SOUND[:-1])
    assert "by its log the study has ended so: None" in found


def test_two_sessions_of_one_name_are_seen() -> None:
    twice = [began(), ended_session(), *SOUND]
    assert of_the_log(twice) == ["2 sessions are called session-0001"]


@pytest.mark.parametrize(
    ("between", "is_seen"),
    [
        ([], True),
        ([Paused(0, "its process died", at(2))], False),
        ([began(2)], False),
    ],
)
def test_a_trial_that_runs_twice_at_once_is_seen(between: list[Event], is_seen: bool) -> None:
    proposal, place, *rest = lived(0)
    number = 2 if between == [began(2)] else 1
    events = [began(), proposal, place, *between, place, *rest, ended_session(number)]
    assert of_the_log(events) == (["trial 0 ran twice at once"] if is_seen else [])


def test_a_trial_that_is_missing_is_seen() -> None:
    found = of_the_trials(*(lived(number) for number in range(TRIALS - 1)))
    assert found == [f"{TRIALS - 1} of {TRIALS} trials"]


def test_a_trial_without_a_result_is_seen() -> None:
    *others, last = (lived(number) for number in range(TRIALS))
    found = of_the_trials(*others, [*last[:2], ended(TRIALS - 1, "failed")])
    assert found == [f"trial {TRIALS - 1} is failed: so it goes"]


def test_a_value_that_differs_in_its_last_bit_is_seen() -> None:
    *others, last = (lived(number) for number in range(TRIALS))
    proposal, place, reported, end = last
    assert isinstance(reported, Reported)
    first, *rest = reported.reports
    nudged = replace(
        first, metrics={"validation/r2": nextafter(first.metrics["validation/r2"], 2)}
    )
    other = replace(reported, reports=(nudged, *rest))
    found = of_the_trials(*others, [proposal, place, other, end])
    assert nudged != first
    assert found == [f"trial {TRIALS - 1}: other values than in the undisturbed study"]
