"""Modules that have the names of orrery's packages: told in one line, or no harm."""

import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

FIRST = "import orrery; import datasets; print(datasets.__file__)"
"""A script that says whose package it has got."""


def ran(folder: Path, script: str, *beside: Path) -> subprocess.CompletedProcess[str]:
    """Runs a script of a folder, where some folders are looked into before the project's."""
    (folder / "study.py").write_text(script)
    path = ":".join(map(str, (*beside, ROOT)))
    return subprocess.run(
        [sys.executable, "study.py"],
        cwd=folder,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that is said."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def assert_ours(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(ROOT / "datasets" / "__init__.py")


def package(folder: Path, name: str) -> Path:
    file = folder / name / "__init__.py"
    file.parent.mkdir(parents=True)
    file.touch()
    return file


@pytest.mark.parametrize("name", ["datasets", "engine"])
def test_a_module_of_the_name_beside_the_script_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").touch()
    said = refusal(ran(tmp_path, FIRST))
    assert f"{tmp_path / name}.py has the name of one of orrery's packages: rename it" in said


def test_a_package_of_the_name_beside_the_script_is_named(tmp_path: Path) -> None:
    file = package(tmp_path, "datasets")
    said = refusal(ran(tmp_path, FIRST))
    assert f"{file} has the name of one of orrery's packages: rename it" in said


def test_a_package_that_was_imported_before_is_named(tmp_path: Path) -> None:
    """As the well-known one of this name may be, which is installed."""
    file, own = package(tmp_path / "installed", "datasets"), tmp_path / "own"
    own.mkdir()
    said = refusal(ran(own, "import datasets; import orrery", tmp_path / "installed"))
    assert f"{file} has the name of one of orrery's packages" in said
    assert "import orrery before datasets" in said


def test_an_installed_package_that_is_imported_later_does_no_harm(tmp_path: Path) -> None:
    package(tmp_path / "installed", "datasets")
    own = tmp_path / "own"
    own.mkdir()
    assert_ours(ran(own, FIRST, tmp_path / "installed"))


@pytest.mark.parametrize("script", [FIRST, FIRST.replace("import orrery; ", "", 1)])
def test_a_folder_of_data_files_of_the_name_does_no_harm(tmp_path: Path, script: str) -> None:
    """Whichever is imported first."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "rows.csv").write_text("1,2\n")
    assert_ours(ran(tmp_path, script + "; import orrery"))


def test_orrery_is_imported_from_its_own_folder() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert_ours(done)
