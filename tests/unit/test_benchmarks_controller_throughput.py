"""What the benchmark of controllers' drives measures and prints."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import controller_throughput
from benchmarks.controller_throughput import SIDES, driven, main, rate, rows


@pytest.mark.parametrize("name", SIDES)
def test_each_side_drives_and_counts_its_steps(name: str) -> None:
    assert driven(SIDES[name], 20, [3, 4]) == 40


def test_a_rate_is_of_the_steps_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 14.0])
    monkeypatch.setattr(controller_throughput.time, "perf_counter", lambda: next(clock))
    with ThreadPoolExecutor(2) as pool:
        measure = rate(pool, 2, SIDES["no frames, no controller"], 20, 3)
        assert measure() == 2 * 3 * 20 / 4


def test_rates_stand_beside_their_ratio_to_gymnasium_s_on_as_many_cores() -> None:
    rates = {
        f"{name}, {number}": [100.0 * (place + 1) * number] * 3
        for place, name in enumerate(SIDES)
        for number in (1, 2)
    }
    found = rows(rates, [1, 2])
    assert found[0][1:] == ["100 (100..100)", "1 (1..1)", "200 (200..200)", "1 (1..1)"]
    assert found[3][1:] == ["400 (400..400)", "4 (4..4)", "800 (800..800)", "4 (4..4)"]


def test_a_number_of_processes_is_asked_for_in_one_line() -> None:
    with pytest.raises(Exception, match="expected a whole number of at least 1, got '0'"):
        main(["--processes", "0"])
