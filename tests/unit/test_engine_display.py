"""What one sees: a live table on a terminal, plain lines elsewhere."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console
from studies.ledger import TrialRecord

from engine import display
from engine.display import Display, with_progress
from trainables.models.gnn import GNNConfig


@pytest.fixture
def records() -> list[TrialRecord]:
    return [
        TrialRecord(0, GNNConfig(), "finished", 15, 0.75, seconds=3),
        TrialRecord(1, GNNConfig(family="gin"), "pruned", 3, 0.99, seconds=1),
        TrialRecord(2, GNNConfig(family="gat"), "failed", 2, 0.1, reason="loss nan [x]"),
        TrialRecord(3, GNNConfig(family="sage"), "running", 7, 0.5),
    ]


def shown(records: list[TrialRecord], terminal: bool) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, color_system=None)
    with Display(console, "validation/r2", total=16, known=5) as view:
        for record in records:
            view.changed(record)
    return text.getvalue()


def test_a_log_file_gets_one_line_for_each_trial_that_ended(records: list[TrialRecord]) -> None:
    lines = shown(records, terminal=False).splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:4] == ["6/16", "trial", "0", "finished"]
    assert "validation/r2 0.7500" in lines[0]
    assert "loss nan [x]" in lines[2], "brackets in a reason are not markup"
    assert "\x1b" not in "".join(lines)


def test_a_terminal_gets_a_live_table_of_how_the_study_stands(
    records: list[TrialRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "REFRESH", 0.0)
    text = shown(records, terminal=True)
    assert "8 of 16 done" in text
    assert "1 running, 1 pruned, 1 failed" in text
    assert "best: trial 0" in text, "a pruned trial is not the best, whatever its value"
    assert "elapsed 0:00:00, left 0:00:00" in text
    assert "epoch 7/15" in text


def test_progress_hands_on_every_result_in_order() -> None:
    def double_it(item: int) -> int:
        return 2 * item

    text = io.StringIO()
    tracked = with_progress(map, Console(file=text))
    results = tracked(double_it, range(5))
    assert isinstance(results, Iterator), "it must not run before it is asked"
    assert list(results) == [0, 2, 4, 6, 8]
    assert text.getvalue().startswith("double it: 0.")
