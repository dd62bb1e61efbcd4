"""Options that have a form or exclude one another: names, shares of a GPU, how many trials."""

from pathlib import Path
from typing import Any

import pytest

from datasets.errors import InputError
from engine.options import NAME, Options, part_of_a_name


@pytest.mark.parametrize("name", ["s", "gnn-gfn2-mu", "3rd.try_2", "A" * 100, "x."])
def test_a_name_that_is_a_folder_and_a_model_is_taken(name: str) -> None:
    assert Options(name=name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-rf",
        ".hidden",
        "..",
        "_x",
        "a/b",
        "a:b",
        "it's",
        "a b",
        "é",
        "a\n",
        "A" * 101,
        "a\x00",
    ],
)
def test_any_other_name_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=r"expected letters, digits, .* at most 100") as refused:
        Options(name=name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["..", "a/b", ""])
def test_a_name_of_an_earlier_study_is_one_too(name: str) -> None:
    with pytest.raises(InputError, match=r"--from .*: expected letters, digits"):
        Options(from_=("s", name))


@pytest.mark.parametrize(
    "listed", [{"preset": "x"}, {"sampler": "grid"}, {"configurations": Path("x.json")}]
)
def test_listed_configurations_start_from_no_earlier_study(listed: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--from s and listed configurations: expected no"):
        Options(from_=("s",), **listed)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("gfn2-mu", "gfn2-mu"),
        ("x-homo/lumo gap (eV)", "x-homo_lumo_gap_eV_"),
        ("x-a/../../b", "x-a_.._.._b"),
        ("能量:1\n2'", "_1_2_"),
        ("m" * 300, "m" * 90),
        ("my__data", "my__data"),
    ],
)
def test_a_text_is_made_to_fit_into_a_name(text: str, part: str) -> None:
    assert part_of_a_name(text, 90) == part
    assert NAME.fullmatch(f"gnn-{part}")


@pytest.mark.parametrize("share", ["auto", 0, 0.25, 1])
def test_a_share_of_a_gpu_is_taken(share) -> None:
    assert Options(gpus_per_trial=share).gpus_per_trial == share


def test_a_trial_has_no_more_than_one_gpu() -> None:
    with pytest.raises(InputError, match="2: expected at most 1, as a trial trains on one GPU"):
        Options(gpus_per_trial=2)
    with pytest.raises(InputError, match="--gpus-per-trial is nan"):
        Options(gpus_per_trial=float("nan"))


@pytest.mark.parametrize(
    ("trials", "listed", "total"),
    [(None, None, 16), (3, None, 3), (40, None, 40), (None, 5, 5), (3, 5, 3), (40, 5, 5)],
)
def test_there_are_as_many_trials_as_asked_for_or_listed(
    trials: int | None, listed: int | None, total: int
) -> None:
    assert Options(trials=trials).total(listed) == total


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"preset": "homework"}, "--configurations and --preset homework: expected one of them"),
        ({"sampler": "grid"}, "--configurations and --sampler grid: expected one of them"),
    ],
)
def test_configurations_come_from_one_place(more: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}$"):
        Options(configurations=Path("c.json"), **more)


def test_no_trial_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="--trials is 0: expected at least 1"):
        Options(trials=0)
