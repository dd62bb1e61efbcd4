"""Ships the modules of a user's own study to a cluster whose nodes do not have its file."""

import sys
from pathlib import Path

import ray.cloudpickle

ROOT = Path(__file__).resolve().parents[2]


def travel(file: str) -> None:
    """Registers the user's modules in a study's folder to be pickled by value.

    Pickled by reference, they could not be imported on other machines. A study of this project
    needs nothing of this, because the project's code is shipped to all nodes.

    Args:
        file: Path of the file that defines the study.
    """
    folder = Path(file).resolve().parent
    if ROOT in (folder, *folder.parents):
        return
    for module in list(sys.modules.values()):
        source = getattr(module, "__file__", None)
        if source and folder in Path(source).resolve().parents and _is_of_the_user(source):
            ray.cloudpickle.register_pickle_by_value(module)


def _is_of_the_user(source: str) -> bool:
    """Returns False for an installed package, for a virtual environment may lie in the folder."""
    return not {"site-packages", "dist-packages"} & set(Path(source).resolve().parts)
