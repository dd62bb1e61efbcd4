"""Folders for what libraries keep, where the user has no home or may not write there."""

import os
import pwd
import tempfile
from pathlib import Path

import pytest

from datasets.home import own_folder, provide_folders


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of temporary files, and none of the variables set."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("MPLCONFIGDIR", "")
    monkeypatch.delenv("MPLCONFIGDIR")
    return folder


@pytest.fixture
def own(temporary: Path) -> Path:
    return temporary / f"orrery-{os.geteuid()}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_nothing_is_changed_where_the_home_folder_can_be_written(
    temporary: Path, home: Path
) -> None:
    before = dict(os.environ)
    provide_folders()
    assert dict(os.environ) == before
    assert list(temporary.iterdir()) == []


def test_a_user_whom_the_machine_does_not_know_is_given_a_home(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that runs under any number for a user; ``Path.home`` raises there."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("HOME")
    provide_folders()
    assert Path.home() == own
    assert own.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("home", ["/nonexistent", "relative", "/dev/null"])
def test_a_home_that_is_no_folder_is_replaced(
    own: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.setenv("HOME", home)
    provide_folders()
    assert os.environ["HOME"] == str(own)


def test_a_home_that_is_read_only_stays_as_keys_may_lie_there(
    own: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != home and access(path, mode))
    provide_folders()
    assert os.environ["HOME"] == str(home)
    assert os.environ["MPLCONFIGDIR"] == str(own / "matplotlib")


def test_a_folder_that_the_user_names_for_matplotlib_stays(
    temporary: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != home and access(path, mode))
    monkeypatch.setenv("MPLCONFIGDIR", "/mine")
    provide_folders()
    assert os.environ["MPLCONFIGDIR"] == "/mine"


def test_ray_is_told_of_the_temporary_folder_that_python_found(
    temporary: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray takes what the variable names, or /tmp, whether it can be written or not."""
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    provide_folders()
    assert os.environ["TMPDIR"] == str(temporary)


def test_without_any_temporary_folder_one_line_names_the_variable(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/app']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(SystemExit) as ended:
        provide_folders()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: No usable temporary directory found in ['/tmp', '/app']: name a folder in TMPDIR\n"
    )


def test_the_own_folder_is_the_same_each_time(own: Path) -> None:
    assert own_folder() == own_folder() == own


@pytest.mark.parametrize("foreign", ["open", "link", "file", "other"])
def test_a_folder_that_others_may_have_filled_is_not_taken(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, foreign: str
) -> None:
    """Whatever lies under its name: Numba would unpickle what it finds."""
    if foreign == "file":
        own.touch()
    elif foreign == "link":
        (tmp_path / "elsewhere").mkdir()
        own.symlink_to(tmp_path / "elsewhere")
    else:
        own.mkdir()
    if foreign == "open":
        own.chmod(0o777)
    if foreign == "other":
        me = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: me)
        own = own.rename(own.parent / f"orrery-{me}")
    taken = own_folder()
    assert taken not in (own, tmp_path / "elsewhere")
    assert taken.stat().st_mode & 0o777 == 0o700
