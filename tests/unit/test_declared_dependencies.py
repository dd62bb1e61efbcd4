"""What the packages import is what pyproject.toml declares."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from places import ROOT

PACKAGES = ("analysis", "benchmarks", "datasets", "engine", "record", "studies", "trainables")


def imported() -> Iterator[tuple[str, Path]]:
    """Each module that a file of the packages imports from elsewhere, also within functions."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = (
                    [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                )
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                for name in names:
                    yield name.partition(".")[0], file.relative_to(ROOT)


def normal(distribution: str) -> str:
    """A name as packages are compared by."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~!; ]", distribution)[0]).lower()


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {normal(requirement) for requirement in project["dependencies"]}
    known = packages_distributions()
    elsewhere = {
        (module, str(file))
        for module, file in imported()
        if module not in sys.stdlib_module_names and module not in PACKAGES
    }
    assert ("torch", "trainables/device.py") in elsewhere
    missing = {
        (module, file)
        for module, file in elsewhere
        if not declared & {normal(name) for name in known.get(module, [module])}
    }
    assert missing == set()


def test_every_declared_package_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normal(line) for line in lines if "==" in line}
    assert {normal(each) for each in project["dependencies"]} <= pinned
