"""The ``STUDY`` of a recorded study is found again, and nothing else is ever imported."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from recorded_study import study_of

from datasets.errors import InputError
from record import names
from record.definition import ROOT, defined_in, definition, place_of
from studies import gnn_sweep, world_model_sweep

imported: list[str] = []
"""Which of the files of these tests were."""


@pytest.fixture(autouse=True)
def _as_if_nothing_was_imported() -> Iterator[None]:
    before = set(sys.modules)
    imported.clear()
    yield
    for name in set(sys.modules) - before:
        if name.startswith("study_"):
            del sys.modules[name]


def study_file(folder: Path, key: str = "own", more: str = "", name: str = "mine.py") -> Path:
    """A file that defines a study of this key, and tells when it is imported."""
    code = f"""
        from types import SimpleNamespace

        import {__name__}

        {__name__}.imported.append({name!r})
        {more}
        STUDY = SimpleNamespace(key={key!r})
        """
    path = folder / name
    path.write_text(dedent(code))
    return path


def found(tags: dict[str, str], *, is_of_this_folder: bool) -> Any:
    return definition("s", tags, is_of_this_folder=is_of_this_folder)


def refused(tags: Any, *, is_of_this_folder: bool) -> str:
    """What is said, in one line, where nothing was imported."""
    modules = set(sys.modules)
    with pytest.raises(InputError) as error:
        definition("s", tags, is_of_this_folder=is_of_this_folder)
    assert not imported
    assert not {name for name in set(sys.modules) - modules if "study" in name.lower()}
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("is_of_this_folder", [True, False])
@pytest.mark.parametrize("module", [gnn_sweep, world_model_sweep], ids=lambda m: m.__name__)
def test_a_study_of_the_project_is_found_by_the_name_of_its_module(
    module: Any, is_of_this_folder: bool
) -> None:
    tags = place_of(module.__file__)
    assert tags == {names.FILE: f"studies/{Path(module.__file__).name}"}
    assert definition("s", tags, is_of_this_folder=is_of_this_folder) is module.STUDY


def test_a_file_that_is_as_it_was_is_imported_once(tmp_path: Path) -> None:
    tags = dict(place_of(str(study_file(tmp_path))))
    first = found(tags, is_of_this_folder=True)
    assert first.key == "own"
    assert found(tags, is_of_this_folder=True) is first
    assert imported == ["mine.py"]


def test_a_file_imports_what_lies_beside_it_and_leaves_the_path_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("WORD = 'beside'")
    path = study_file(tmp_path, more="import beside_it")
    before = list(sys.path)
    try:
        assert defined_in(path).key == "own"
        assert sys.modules["beside_it"].WORD == "beside"
    finally:
        sys.modules.pop("beside_it", None)
    assert sys.path == before


def test_a_file_that_has_changed_is_not_imported(tmp_path: Path) -> None:
    path = study_file(tmp_path)
    tags = place_of(str(path))
    path.write_text(path.read_text() + "\n")
    said = refused(tags, is_of_this_folder=True)
    assert f"{path}, which defines s, has changed since" in said
    assert "--study mine.py" in said


def test_a_file_without_a_recorded_digest_is_not_imported(tmp_path: Path) -> None:
    path = study_file(tmp_path)
    assert "has changed" in refused({names.FILE: str(path)}, is_of_this_folder=True)


def test_a_file_that_is_gone_is_missed(tmp_path: Path) -> None:
    path = study_file(tmp_path)
    tags = place_of(str(path))
    path.unlink()
    said = refused(tags, is_of_this_folder=True)
    assert said == f"s is defined in {path}, which is not there: give it with --study mine.py"


def test_a_path_that_only_a_server_names_is_not_imported(tmp_path: Path) -> None:
    """Though the file is here, and is what the server says it is."""
    path = study_file(tmp_path)
    said = refused(place_of(str(path)), is_of_this_folder=False)
    assert said == f"s is defined in {path}, on another machine: give it with --study mine.py"


@pytest.mark.parametrize("is_of_this_folder", [True, False])
@pytest.mark.parametrize(
    "place",
    [
        "studies/../mine.py",
        "studies/../studies/gnn_sweep.py",
        "studies/./gnn_sweep.py",
        "studies//gnn_sweep.py",
        "studies/inner/gnn_sweep.py",
        "studies/unknown.py",
        "studies/",
        "studies",
        "../studies/gnn_sweep.py",
        "engine/study.py",
        "os",
        "\0",
        "",
    ],
)
def test_a_place_that_is_none_is_not_imported(
    place: str, is_of_this_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a file lies there, seen from the folder in which the command is typed."""
    (tmp_path / "studies").mkdir()
    path = study_file(tmp_path)
    tags = {**place_of(str(path)), names.FILE: place}
    monkeypatch.chdir(tmp_path)
    said = refused(tags, is_of_this_folder=is_of_this_folder)
    assert said.startswith("s is defined in ")
    assert "--study " in said


def test_a_study_whose_file_was_not_recorded_is_asked_for() -> None:
    said = refused({}, is_of_this_folder=False)
    assert said == "s is defined in a file, on another machine: give it with --study FILE.py"
    said = refused({}, is_of_this_folder=True)
    assert said.startswith("s is defined in a file that was not recorded: give it with --study")


def test_a_command_of_the_project_is_no_study() -> None:
    with pytest.raises(InputError, match=r"doctor\.py defines no STUDY") as error:
        found({names.FILE: "studies/doctor.py"}, is_of_this_folder=False)
    assert str(ROOT / "studies") in str(error.value)


def test_a_file_that_is_named_is_imported(tmp_path: Path) -> None:
    path = study_file(tmp_path)
    assert defined_in(path).key == "own"
    assert imported == ["mine.py"]


def test_a_module_that_is_loaded_is_not_loaded_again() -> None:
    """Its classes would be others than those of the trials."""
    assert defined_in(Path(str(gnn_sweep.__file__))) is gnn_sweep.STUDY


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("raise RuntimeError('planted\\nand more')", "cannot be imported: planted"),
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        ("raise SystemExit(3)", "cannot be imported: 3"),
        ("this is no Python", "cannot be imported: invalid syntax"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line(tmp_path: Path, more: str, said: str) -> None:
    path = study_file(tmp_path, more=more)
    before = list(sys.path)
    with pytest.raises(InputError) as error:
        defined_in(path)
    assert said in str(error.value)
    assert str(error.value).startswith(f"{path} ")
    assert "\n" not in str(error.value)
    assert sys.path == before
    assert "study_mine" not in sys.modules


def test_a_file_without_a_study_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("study = None")
    with pytest.raises(InputError, match=r"empty\.py defines no STUDY: expected STUDY = Study"):
        defined_in(path)


@pytest.mark.parametrize("name", ["there_is_none.py", "folder", "text.txt"])
def test_what_is_no_python_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.txt").write_text("STUDY = 1")
    with pytest.raises(
        InputError, match=f"{name} (is no Python file|cannot be imported: No such)"
    ):
        defined_in(tmp_path / name)


def test_a_file_of_another_study_is_refused(tmp_path: Path) -> None:
    other = replace(study_of([]), define=lambda: defined_in(study_file(tmp_path)))
    with pytest.raises(InputError, match="s is a study of gnn, that file defines own"):
        _ = other.definition
    same = study_file(tmp_path, key="gnn", name="same.py")
    assert replace(other, define=lambda: defined_in(same)).definition.key == "gnn"
