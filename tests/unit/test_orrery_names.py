"""The names that a study of one's own imports."""

import inspect
from types import ModuleType
from typing import Any

import pytest

import orrery

PACKAGES = (*orrery.PACKAGES, "orrery")


def is_ours(value: object) -> bool:
    return getattr(value, "__module__", "").partition(".")[0] in PACKAGES


def is_class_of_ours(name: str) -> bool:
    value = getattr(orrery, name)
    return inspect.isclass(value) and is_ours(value)


def own_docstring(value: Any) -> str:
    """The first line that its source has: a class inherits none, and a dataclass without one gets
    its signature in its place."""
    docstring = (vars(value)["__doc__"] if inspect.isclass(value) else value.__doc__) or ""
    first = docstring.partition("\n")[0]
    return "" if first.startswith(f"{value.__name__}(") else first


@pytest.mark.parametrize("name", orrery.__all__)
def test_each_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(orrery, name)
    assert not isinstance(value, ModuleType)
    if is_ours(value):
        assert value.__name__ == name, "it has one name only"
        assert own_docstring(value).endswith((".", ":"))


def test_all_is_ours_but_the_ranges_and_a_union() -> None:
    others = {name for name in orrery.__all__ if not is_ours(getattr(orrery, name))}
    assert others == {"Choice", "Real", "Whole", "Role"}


def test_names_are_sorted_and_each_is_there_once() -> None:
    assert orrery.__all__ == sorted(set(orrery.__all__))


def test_nothing_public_is_imported_that_is_not_named() -> None:
    """Else a study could come to use what nobody promised it."""
    public = {
        name
        for name, value in vars(orrery).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and is_ours(value)
    }
    assert public == {name for name in orrery.__all__ if is_ours(getattr(orrery, name))}


@pytest.mark.parametrize("name", [*filter(is_class_of_ours, orrery.__all__)])
def test_methods_that_a_study_calls_or_writes_say_what_they_do(name: str) -> None:
    value = getattr(orrery, name)
    methods = [
        method
        for method in vars(value).values()
        if inspect.isfunction(method) and method.__qualname__.startswith(f"{name}.")
    ]
    public = [method for method in methods if not method.__name__.startswith("_")]
    assert [method.__name__ for method in public if not method.__doc__] == []
