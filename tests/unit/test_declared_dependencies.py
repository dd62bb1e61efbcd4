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
MODULES = ("orrery",)


def imported() -> Iterator[tuple[str, Path]]:
    """Each module that a file of the project imports from elsewhere, also within functions."""
    inside = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    for file in [*inside, *(ROOT / f"{module}.py" for module in MODULES)]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                yield name.partition(".")[0], file.relative_to(ROOT)


def test_no_package_or_module_that_is_installed_is_left_out() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    installed = project["tool"]["setuptools"]
    there = [file.parent for package in PACKAGES for file in (ROOT / package).rglob("__init__.py")]
    assert {*installed["packages"]} == {".".join(each.relative_to(ROOT).parts) for each in there}
    assert installed["py-modules"] == [*MODULES]


def normal(distribution: str) -> str:
    """A name as packages are compared by."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~!; ]", distribution)[0]).lower()


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {normal(requirement) for requirement in project["dependencies"]}
    reference = {normal(each) for each in project["optional-dependencies"]["reference"]}
    known = packages_distributions()
    elsewhere = {
        (module, str(file))
        for module, file in imported()
        if module not in {*sys.stdlib_module_names, *PACKAGES, *MODULES}
    }
    assert {("torch", "trainables/device.py"), ("optuna", "orrery.py")} <= elsewhere
    missing = {
        (module, file)
        for module, file in elsewhere
        if not declared & {normal(name) for name in known.get(module, [module])}
    }
    compared = {(module, file) for module, file in missing if file.startswith("benchmarks/")}
    assert {normal(module) for module, _ in compared} == reference
    assert missing == compared


def test_every_declared_package_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normal(line) for line in lines if "==" in line}
    optional = project["optional-dependencies"]["reference"]
    assert {normal(each) for each in (*project["dependencies"], *optional)} <= pinned


def test_every_file_beside_the_modules_is_installed_with_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = project["tool"]["setuptools"]["package-data"]
    there = {
        package: sorted(
            file.relative_to(ROOT / package).as_posix()
            for file in (ROOT / package).rglob("*")
            if file.is_file() and file.suffix != ".py" and "__pycache__" not in file.parts
        )
        for package in PACKAGES
    }
    assert declared == {package: files for package, files in there.items() if files}
    assert "web_page.css" in declared["analysis"]
