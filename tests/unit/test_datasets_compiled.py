"""Where compiled loops are kept for other processes."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numba
import pytest
from numba.core import caching, config

from datasets import compiled as module
from datasets.compiled import compiled


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither beside the code nor in the home folder anything can be written."""
    for locator in (caching.InTreeCacheLocator, caching.UserWideCacheLocator):
        monkeypatch.setattr(locator, "from_function", lambda *_: None)
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module._is_there_another_place.cache_clear()


def twice(x):
    return 2 * x


def kept(folder: Path) -> list[str]:
    return [file.name for file in folder.rglob("*.nbi")]


def test_a_loop_is_kept_among_the_temporary_files_where_nothing_else_can_be_written(
    read_only: None, tmp_path: Path
) -> None:
    """Numba alone raises "no locator available" when the module is imported."""
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(twice)
    assert compiled()(twice)(21) == 42
    (file,) = kept(tmp_path)
    assert "twice" in file


def test_a_loop_is_compiled_anew_where_nothing_can_be_written_at_all(
    read_only: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> Path:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(module, "own_folder", none)
    assert compiled()(twice)(21) == 42
    assert kept(tmp_path) == []


def test_a_folder_that_the_user_names_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "mine"))
    assert compiled()(twice)(21) == 42
    assert len(kept(tmp_path / "mine")) == 1


def test_options_are_numba_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    divided: Callable[[float, float], float] = compiled(error_model="numpy")(lambda x, y: x / y)
    assert divided(1.0, 0.0) == float("inf")
