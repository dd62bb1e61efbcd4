"""How the benchmarks measure and print, and what they say to bad input."""

import sys
from collections.abc import Sequence
from types import ModuleType

import pytest

from analysis.markdown import table
from benchmarks import batching, plain_study, training_step
from benchmarks.rounds import Disagreement, exit_code, ratios, spread, take_turns, verdict
from datasets.errors import InputError


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


def test_a_verdict_says_whether_the_ratio_is_the_wanted_one() -> None:
    assert verdict("batches", 8.0, 8.0) == "batches: ratio 8.00, at least 8 wanted: met"
    assert verdict("batches", 7.99, 8.0).endswith("missed")


@pytest.mark.parametrize("script", [batching, training_step, plain_study])
@pytest.mark.parametrize(
    "typed",
    [
        ("--molecules", "0"),
        ("--rounds", "none"),
        ("--seed", "-1"),
        ("--dataset", "not-there.parquet"),
        ("--nothing",),
    ],
)
def test_bad_input_is_told_in_one_line(
    script: ModuleType,
    typed: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py", *typed])
    assert exit_code(script.main) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: ")
    assert len(told.err.splitlines()) == 1
    assert told.out == ""


def test_sides_that_disagree_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main(_: Sequence[str]) -> None:
        raise Disagreement("predictions differ")

    assert exit_code(main) == 1
    assert capsys.readouterr().err == "error: predictions differ\n"


def test_more_trials_at_once_than_cores_are_refused() -> None:
    with pytest.raises(InputError, match="the cores that this process may use"):
        plain_study.main(["--max-concurrent", "100000"])
