"""Compares the search spaces of two sessions: a later one may search a part of what the first did.

All trials of a study are then ones that its first session could have proposed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from engine.space import contains, shown
from record.events import SessionBegan
from record.facts import BASELINES, DEFAULTS, FIXED
from trainables.parameter import Parameter


def widenings(known: SessionBegan, given: SessionBegan) -> Iterator[str]:
    """Yields where the space of a session is not a part of another one's.

    A part has fields fixed to a value inside, fewer choices, or some values of a range. Each text
    is like ``--width was 32 to 128, now 200``.

    Args:
        known: The session that began the study.
        given: A later session.
    """
    before, now = _Space(known), _Space(given)
    moved = before.differing_from(now)
    for field in sorted(moved & {*before.fixed, *now.fixed}):
        if field in before.fixed or not before.has(field, now.fixed[field]):
            yield _change(field, before, now)
    for key, parameter in now.searched.items():
        if parameter.field not in before.fixed and not before.includes(parameter):
            yield _change(key, before, now)
    for key, parameter in before.searched.items():
        applies = parameter.when is None or parameter.when.field not in moved
        if key not in now.searched and parameter.field not in now.fixed and applies:
            yield _change(key, before, now)
    for kind in (DEFAULTS, BASELINES):
        yield from _changes(kind, known.spec.get(kind, {}), given.spec.get(kind, {}), moved)


class _Space:
    """The space of a session: its fixed fields, and its parameters by key."""

    def __init__(self, session: SessionBegan) -> None:
        self.fixed: Mapping[str, Any] = session.spec.get(FIXED, {})
        self.searched = {each["key"]: Parameter.recorded(each) for each in session.space}

    def differing_from(self, other: "_Space") -> set[str]:
        """Returns the fields that are not fixed or searched in both spaces alike."""
        keys = {*self.searched, *other.searched}
        every = self.searched | other.searched
        differing = {k for k in keys if self.searched.get(k) != other.searched.get(k)}
        fixed = {*self.fixed.items()} ^ {*other.fixed.items()}
        return {every[key].field for key in differing} | {field for field, _ in fixed}

    def has(self, field: str, value: Any) -> bool:
        """Returns True if a value of a field is searched."""
        ranges = [each.distribution for each in self.searched.values() if each.field == field]
        return any(contains(distribution, value) for distribution in ranges)

    def includes(self, parameter: Parameter) -> bool:
        """Returns True if all that a parameter may be is searched, under the same condition."""
        own = self.searched.get(parameter.key)
        if own is None or own.when != parameter.when:
            return False
        return _is_within(parameter.distribution, own.distribution)

    def text(self, name: str) -> str:
        """Describes a field, or a parameter by its key, for the user."""
        if name in self.fixed:
            return str(self.fixed[name])
        ranges = [each for each in self.searched.values() if name in (each.key, each.field)]
        return " or ".join(shown(each.distribution) for each in ranges) or "not searched"


def _is_within(inner: BaseDistribution, outer: BaseDistribution) -> bool:
    """Returns True if all values of a distribution are in another one, on the same scale."""
    match inner, outer:
        case CategoricalDistribution(choices=choices), _:
            return all(contains(outer, choice) for choice in choices)
        case (IntDistribution(), IntDistribution()) | (FloatDistribution(), FloatDistribution()):
            ends = contains(outer, inner.low) and contains(outer, inner.high)
            return ends and (inner.log, inner.step) == (outer.log, outer.step)
    return False


def _changes(
    kind: str, before: Mapping[str, Any], now: Mapping[str, Any], moved: set[str]
) -> Iterator[str]:
    """Yields where the configurations that are tried first differ in fields that did not move."""
    for value in (value for value in before if value in now):
        for field in sorted({*before[value], *now[value]} - moved):
            old, new = before[value].get(field), now[value].get(field)
            if old != new:
                yield f"{kind}.{value}.{field} was {old}, now {new}"


def _change(name: str, before: _Space, now: _Space) -> str:
    """Describes how a field, or a parameter, differs, which may be in its scale only."""
    old, new = before.text(name), now.text(name)
    return f"--{name.replace('_', '-')} was {old}, now {new}{' on another scale' * (old == new)}"
