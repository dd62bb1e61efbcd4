"""Sends the files of a user's own study to the nodes of a cluster, which do not have them."""

import sys
from pathlib import Path
from types import ModuleType

import ray.cloudpickle

ROOT = Path(__file__).resolve().parents[2]


def travel(file: str) -> None:
    """Pickles the modules beside a study's file by value from now on, as their names mean nothing
    on another machine. The modules of this project are on every node.

    Args:
        file: The file that defines the study.
    """
    study = Path(file).resolve()
    if ROOT in study.parents:
        return
    for name, module in list(sys.modules.items()):
        if _source(module) == study or _lies_in(study.parent, name, module):
            ray.cloudpickle.register_pickle_by_value(module)


def _lies_in(folder: Path, name: str, module: ModuleType) -> bool:
    """Tells whether a module is imported from a folder itself, and not from one below it, such as
    a checkout of this project in the user's home folder."""
    path = folder.joinpath(*name.split("."))
    return _source(module) in (path.with_suffix(".py"), path / "__init__.py")


def _source(module: ModuleType) -> Path | None:
    source = getattr(module, "__file__", None)
    return Path(source).resolve() if source else None
