"""How the benchmarks measure and print."""

import pytest

from analysis.markdown import table
from benchmarks.growing_table import GrowingTable
from benchmarks.rounds import ratios, spread, take_turns, verdict


def test_the_sides_take_turns_in_alternating_order_after_a_round_that_does_not_count() -> None:
    called: list[str] = []

    def side(name: str) -> float:
        called.append(name)
        return float(len(called))

    measured = take_turns({"a": lambda: side("a"), "b": lambda: side("b")}, rounds=3)
    assert called == ["b", "a", "a", "b", "b", "a", "a", "b"]
    assert measured == {"a": [3.0, 6.0, 7.0], "b": [4.0, 5.0, 8.0]}


def test_a_ratio_is_that_of_one_round() -> None:
    assert ratios([10, 30], [5, 10]) == [2, 3]


def test_a_spread_is_the_median_with_its_range() -> None:
    assert spread([1.0, 4.0, 2.0]) == "2 (1..4)"
    assert spread([1234.0]) == "1,234"


def test_a_table_is_markdown_with_aligned_columns() -> None:
    assert table(("side", "s"), [("ours", "1")]).splitlines() == [
        "| side | s |",
        "| ---- | - |",
        "| ours | 1 |",
    ]


def test_a_growing_table_prints_each_row_when_it_is_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    growing = GrowingTable(("side", "s"))
    assert capsys.readouterr().out.splitlines() == ["| side | s |", "| --- | --- |"]
    growing.add(["a|b", "1"])
    assert capsys.readouterr().out == "| a\\|b | 1 |\n"


def test_a_verdict_says_whether_the_ratio_is_the_wanted_one() -> None:
    assert verdict("batches", 8.0, 8.0) == "batches: ratio 8.00, at least 8 wanted: met"
    assert verdict("batches", 7.99, 8.0).endswith("missed")
