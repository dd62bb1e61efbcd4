"""A study of the user's own on a cluster, whose nodes do not have its file."""

import sys
from pathlib import Path

import ray.cloudpickle

ROOT = Path(__file__).resolve().parents[2]


def travel(file: str) -> None:
    """Has the modules that lie in the folder of a study's file pickled whole, and not by their
    names, which mean nothing on another machine. Those of this project are there.

    Args:
        file: The study's.
    """
    folder = Path(file).resolve().parent
    if ROOT in (folder, *folder.parents):
        return
    for module in list(sys.modules.values()):
        source = getattr(module, "__file__", None)
        if source and folder in Path(source).resolve().parents and _is_of_the_user(source):
            ray.cloudpickle.register_pickle_by_value(module)


def _is_of_the_user(source: str) -> bool:
    """Whether a module's file is no installed package's, as where an environment lies in the
    folder."""
    return not {"site-packages", "dist-packages"} & set(Path(source).resolve().parts)
