"""The tracker that stands for MLflow in tests does what MLflow's does."""

from pathlib import Path

import pytest
from happened import story
from tracker_contract import FACTS, Open, TrackerContract

from record.state import fold
from record.tracker import MemoryTracker, NotRecorded, Tracker, sync


class TestMemoryTracker(TrackerContract):
    def opener(self, folder: Path) -> Open:
        tracker = MemoryTracker()
        return lambda: tracker

    def delete(self, tracker: Tracker, number: int) -> None:
        assert isinstance(tracker, MemoryTracker)
        tracker.delete(number)


def test_a_store_that_is_away_takes_nothing() -> None:
    tracker, state = MemoryTracker(is_away=True), fold(story())
    with pytest.raises(NotRecorded, match="away"):
        tracker.begin(FACTS)
    with pytest.raises(NotRecorded, match="away"):
        sync(tracker, state)
    assert tracker.trials == {}
    tracker.is_away = False
    assert sync(tracker, state) == set()
    assert list(tracker.trials) == [0, 1, 2, 3]
