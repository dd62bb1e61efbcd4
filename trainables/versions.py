"""What a process computes with: the same everywhere, or the numbers are not one study's."""

import errno
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("orrery", "torch", "torch-geometric", "numpy", "numba", "pyarrow")
"""Whose versions may change a trial's numbers, or what can be read of them."""


def versions() -> dict[str, str]:
    """Of Python and the packages; of torch without its build, which differs with the GPU."""
    return {"Python": ".".join(platform.python_version_tuple()[:2])} | {
        package: _version(package) for package in PACKAGES
    }


def _version(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return "not installed"


def check_versions(expected: Mapping[str, str]) -> None:
    """Compares this process with the driver of the study.

    Raises:
        OSError: If they differ; nothing a trial could help, the machine is to be set up anew.
    """
    here = versions()
    differences = [
        f"{name} {here[name]}, where the driver has {expected[name]}"
        for name in expected
        if here[name] != expected[name]
    ]
    if differences:
        raise OSError(
            errno.ENOEXEC,
            f"the node {platform.node()} runs {'; '.join(differences)}: set it up as the driver's "
            "(`ray up`), or start the study from a machine with the same versions",
        )
