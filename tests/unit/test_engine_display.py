"""What one sees: a live table on a terminal, plain lines elsewhere."""

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from happened import PLACEMENT, at, began, placed, proposed, report, reported
from played import small_space
from rich.console import Console

from engine import display
from engine.agenda import Agenda
from engine.attempt import Attempt
from engine.budgets import Limits
from engine.display import Display, with_progress
from engine.proposers import Search
from engine.search_memory import SearchMemory
from record.events import Dropped, Ended, Event, Placed
from record.state import StudyState, fold
from record.trial import Status


def ended(number: int, status: Status, r2: float, reason: str = "") -> list[Event]:
    """A trial that ends in its second epoch."""
    begun: list[Event] = [proposed(number, epochs=15), placed(number), reported(number, 1)]
    return [*begun, Ended(number, status, at(number), reason, (report(2, r2),))]


BEFORE = [began(), *ended(0, "finished", 0.5), *ended(1, "failed", 0.1, "so it goes")]
"""A study that goes on."""

NOW: list[Sequence[Event]] = [
    ended(2, "finished", 0.75),
    ended(3, "pruned", 0.99),
    ended(4, "failed", 0.1, "loss nan [x]"),
    [proposed(5, epochs=15), placed(5)],
]


def shown(
    terminal: bool,
    before: Sequence[Event] = BEFORE,
    now: Sequence[Sequence[Event]] = NOW,
    nodes: bool = False,
) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=140, color_system=None)
    state = fold(before)
    agenda = Agenda(
        state, Search(state, SearchMemory(small_space(), "random", 0, "x")), Limits(16)
    )
    with Display(console, agenda, state.best(), nodes) as view:
        for events in now:
            tell(view, state, events)
    return text.getvalue()


def tell(view: Display, state: StudyState, events: Sequence[Event]) -> None:
    """What happens to one trial; those that wait are not shown."""
    for event in events:
        if isinstance(event, Placed):
            view.live = {event.number: attempt(event.number), 99: attempt(99, placed=None)}
        state.apply(event)
        view.changed(state.trial(event.number))  # pyright: ignore[reportAttributeAccessIssue]


def attempt(number: int, placed: datetime | None = datetime(2026, 1, 1, tzinfo=UTC)) -> Attempt:
    """A trial in its eighth epoch."""
    return Attempt(number, epoch=7, missing=(), checkpoint="", last_heartbeat=0.0, placed=placed)


def test_a_log_file_gets_one_line_for_each_trial_that_ended() -> None:
    lines = shown(terminal=False).splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:4] == ["3/16", "trial", "2", "finished"]
    assert "validation/r2 0.7500" in lines[0]
    assert "epoch 2, 0 s" in lines[0]
    assert "loss nan [x]" in lines[2], "brackets in a reason are not markup"
    assert "\x1b" not in "".join(lines)


def test_a_terminal_gets_a_live_table_of_how_the_study_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(display, "REFRESH", 0.0)
    text = shown(terminal=True)
    assert "5 of 16 done" in text
    assert "1 running, 1 pruned, 1 failed" in text, "one waits for its place"
    assert "best: trial 0" in text, "it is known from an earlier session"
    *_, last = (line for line in text.splitlines() if "best: trial" in line)
    assert "best: trial 2" in last, "a pruned trial is not the best, whatever its value"
    assert "elapsed 0:00:00, left 0:00:00" in text
    assert "epoch 7/15" in text


def test_a_study_that_begins_has_no_best_and_no_time_left_to_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(display, "REFRESH", 0.0)
    text = shown(terminal=True, before=[began()], now=[[proposed(0, epochs=15), placed(0)]])
    assert "0 of 16 done" in text
    assert "left ?" in text
    assert "best" not in text


def test_on_several_nodes_it_is_shown_where_trials_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "REFRESH", 0.0)
    assert f"s on {PLACEMENT.node}" in shown(terminal=False, nodes=True)
    assert f"epoch 7/15, {PLACEMENT.node}" in shown(terminal=True, nodes=True)
    assert PLACEMENT.node not in shown(terminal=False)


def test_progress_hands_on_every_result_in_order() -> None:
    def double_it(item: int) -> int:
        return 2 * item

    text = io.StringIO()
    tracked = with_progress(map, Console(file=text))
    results = tracked(double_it, range(5))
    assert isinstance(results, Iterator), "it must not run before it is asked"
    assert list(results) == [0, 2, 4, 6, 8]
    assert text.getvalue().startswith("double it: 0.")


def test_that_a_finalist_was_dropped_takes_a_line_and_counts_for_no_ending() -> None:
    now: list[Sequence[Event]] = [[Dropped(0, "it was far [behind]", at(50))], NOW[0]]
    lines = shown(terminal=False, now=now).splitlines()
    assert lines[0].split(maxsplit=3) == ["trial", "0", "dropped", "it was far [behind]"]
    assert lines[1].split()[:4] == ["3/16", "trial", "2", "finished"]
    assert len(lines) == 2
