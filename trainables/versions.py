"""Checks that all processes of a study run the same versions of Python and packages.

Other versions could change the numbers of a trial.
"""

import errno
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("orrery", "torch", "torch-geometric", "numpy", "numba", "pyarrow")
"""Packages whose versions may change a trial's numbers or the format they are stored in."""


def versions() -> dict[str, str]:
    """Returns the versions of Python and of `PACKAGES`, by name.

    Local version labels are left out, such as torch's build, which differs with the GPU.
    """
    return {"Python": ".".join(platform.python_version_tuple()[:2])} | {
        package: _version(package) for package in PACKAGES
    }


def _version(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return "not installed"


def check_versions(expected: Mapping[str, str]) -> None:
    """Compares the versions of this process with those of the study's driver.

    Args:
        expected: Versions of the driver, by name.

    Raises:
        OSError: If they differ. The cause is the machine, which has to be set up again, not the
            trial.
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
