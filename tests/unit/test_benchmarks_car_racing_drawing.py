"""What the benchmark of the two drawings of CarRacing measures and prints."""

from dataclasses import replace
from typing import Any

import pytest

from benchmarks import car_racing_drawing
from benchmarks.car_racing_drawing import check, recording_rows, stepping, stepping_rows
from benchmarks.rounds import Disagreement
from datasets.car_racing import Drive
from datasets.recordings import Recordings


def test_drives_that_depend_on_the_drawing_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    check(12)
    honest = car_racing_drawing.record_episodes

    def fake(drive: Drive) -> Recordings:
        made = honest(drive)
        off = 1 if drive.drawing == "arrays" else 0
        return replace(made, rewards=made.rewards + off)

    monkeypatch.setattr(car_racing_drawing, "record_episodes", fake)
    with pytest.raises(Disagreement, match="the rewards of a drive depend on who draws it"):
        check(12)


def test_both_sides_step_and_arrays_are_faster() -> None:
    rates = {each: stepping(each, 40) for each in ("gymnasium", "arrays")}
    best: Any = {name: max(rate() for _ in range(3)) for name, rate in rates.items()}
    assert best["arrays"] > 2 * best["gymnasium"] > 0


def test_rates_are_tabulated_with_their_ratio_to_gymnasium_s() -> None:
    rows = stepping_rows({"arrays": [1500.0, 2000.0], "gymnasium": [150.0, 250.0]})
    assert rows == [
        ["arrays", "2,000", "1,750 (1,500..2,000)", "9 (8..10)"],
        ["gymnasium", "250", "200 (150..250)", "1 (1..1)"],
    ]


def test_recording_is_timed_for_each_number_of_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(drawing: str, episodes: int, steps: int, parallel: Any) -> float:
        return episodes * (8.0 if drawing == "gymnasium" else 2.0)

    monkeypatch.setattr(car_racing_drawing, "recording", fake)
    assert recording_rows([2, 4], 12, map) == [
        ["2", "16.0", "4.0", "4.0"],
        ["4", "32.0", "8.0", "4.0"],
    ]


def test_recording_takes_time() -> None:
    assert car_racing_drawing.recording("arrays", 2, 12, map) > 0
