"""How the benchmarks read a command line, and what they say to bad input."""

import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from types import ModuleType

import pytest
import torch

from benchmarks import batching, plain_study, training_step
from benchmarks.command_line import device, exit_code, positive_seconds
from benchmarks.rounds import Disagreement
from datasets.errors import InputError


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


@pytest.mark.parametrize("typed", ["0", "-1", "nan", "inf", "soon"])
def test_seconds_are_a_number_above_zero(typed: str) -> None:
    with pytest.raises(ArgumentTypeError, match="above 0"):
        positive_seconds(typed)
    assert positive_seconds("0.5") == 0.5


def test_a_device_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [device(name).type for name in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [device(name).type for name in ("auto", "cpu")] == ["cpu", "cpu"]
    for name in ("cuda", "tpu"):
        with pytest.raises(ArgumentTypeError):
            device(name)


def test_a_benchmark_ends_with_the_code_that_it_returns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: Sequence[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["script.py"])
    assert exit_code(lambda _: None) == 0
    assert exit_code(lambda _: 1) == 1
    assert exit_code(interrupted) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_sides_that_disagree_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main(_: Sequence[str]) -> None:
        raise Disagreement("predictions differ")

    assert exit_code(main) == 1
    assert capsys.readouterr().err == "error: predictions differ\n"


def test_more_trials_at_once_than_cores_are_refused() -> None:
    with pytest.raises(InputError, match="the cores that this process may use"):
        plain_study.main(["--max-concurrent", "100000"])
