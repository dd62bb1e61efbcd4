"""Paths as they are typed: home folders, and what only looks like one."""

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from datasets.typed_paths import typed_address, typed_path


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_a_home_folder_is_meant(home: Path) -> None:
    assert typed_path("~") == home
    assert typed_path("~/runs") == home / "runs"
    assert typed_address("~/a b/m.parquet") == str(home / "a b" / "m.parquet")
    assert typed_path("~root/x") == Path("~root").expanduser() / "x"


@pytest.mark.parametrize(
    "text", ["runs", "", "/x/~/y", "a~", "x/~", "qm9", "s3://bucket/~/x", "file:///~", "../~"]
)
def test_anything_else_stays_as_it_was_typed(text: str) -> None:
    assert typed_address(text) == text
    assert typed_path(text) == Path(text)


@pytest.mark.parametrize("text", ["./~", ".//~/runs", "./~root/x"])
def test_a_folder_that_is_called_so_is_no_home_folder_and_never_becomes_one(
    text: str, tmp_path: Path
) -> None:
    assert typed_path(text) == tmp_path / text
    assert typed_address(text).startswith(str(tmp_path))


def test_a_home_folder_that_is_not_there_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="no home folder ~nobody-here; give the whole"):
        typed_path("~nobody-here/runs")
