"""Imports the definition (``STUDY``) of a recorded study: the project's only dynamic import.

A study is defined either in a module of `studies`, which is imported by name, or in a file of the
user. Such a file is imported only if the user names it, or if the study was recorded in this
folder and the file has not changed since. A path that only a tracking server names is never
imported.
"""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from datasets.errors import InputError, described
from record import names

ROOT = Path(__file__).resolve().parent.parent

OWN = "studies"
"""Folder of the project's own studies."""


class Definition(Protocol):
    """The attributes of a ``STUDY`` that are used to read its record; see `engine.study.Study`."""

    key: str
    file: str
    config: type[Any]
    data_options: type[Any]
    data_file: str | None
    open: Callable[..., Any]
    scorecard: Any


def place_of(file: str) -> Mapping[str, str]:
    """Returns the tags that record the file of a study's definition.

    Args:
        file: The ``__file__`` of the module that defines the study.
    """
    path = Path(file).resolve()
    if path.parent == ROOT / OWN:
        return {names.FILE: f"{OWN}/{path.name}"}
    return {names.FILE: str(path), names.FILE_DIGEST: _digest(path)}


def definition(study: str, tags: Mapping[str, str], *, is_of_this_folder: bool) -> Any:
    """Imports and returns the ``STUDY`` of a recorded study.

    Args:
        study: Name of the study.
        tags: The recorded tags, see `place_of`.
        is_of_this_folder: True if the study's log is on this machine; False if only a tracking
            server knows the study.

    Raises:
        InputError: If the definition is missing, has changed, or cannot be imported; the message
            says how the user can give it.
    """
    place = tags.get(names.FILE, "")
    path = Path(place)
    if place == f"{OWN}/{path.name}" and (own := ROOT / OWN / path.name).is_file():
        return _study_of(importlib.import_module(f"{OWN}.{path.stem}"), own)
    named = f"give it with --study {path.name or 'FILE.py'}"
    if not is_of_this_folder:
        raise InputError(f"{study} is defined in {place or 'a file'}, on another machine: {named}")
    if not (path.is_absolute() and path.is_file()):
        where = f"{place}, which is not there" if place else "a file that was not recorded"
        raise InputError(f"{study} is defined in {where}: {named}")
    if _digest(path) != tags.get(names.FILE_DIGEST):
        raise InputError(
            f"{place}, which defines {study}, has changed since the study was run: {named}, if it "
            "still is the same study"
        )
    return defined_in(path)


def defined_in(path: Path) -> Any:
    """Imports a file, unless it is imported already, and returns its ``STUDY``.

    Raises:
        InputError: If the file cannot be imported, or defines no ``STUDY``.
    """
    path = path.resolve()
    known = (m for m in list(sys.modules.values()) if _is_of(m, path))
    module = next((m for m in known if hasattr(m, "STUDY")), None) or _imported(path)
    return _study_of(module, path)


def _study_of(module: ModuleType, path: Path) -> Any:
    if not hasattr(module, "STUDY"):
        raise InputError(f"{path} defines no STUDY: expected STUDY = Study(...) in it")
    return module.STUDY


def _is_of(module: ModuleType, path: Path) -> bool:
    file = getattr(module, "__file__", None) or ""
    # Compares names first: resolving the paths of thousands of modules would access the disk.
    return file.endswith(path.name) and Path(file).resolve() == path


@cache
def _imported(path: Path) -> ModuleType:
    """Imports a file as a module, with its own folder first on `sys.path` meanwhile."""
    name = f"study_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(f"{path} cannot be imported: {described(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
