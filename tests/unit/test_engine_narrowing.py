"""A later session may search a part of the space that a study was begun with, and no more."""

from dataclasses import asdict, replace
from typing import Any

import pytest
from happened import SPACE, began

from engine.narrowing import widenings
from engine.space import Space
from record.events import SessionBegan, from_json, to_json
from record.values import plain
from trainables.models.gnn import GNNConfig


def session(**given: list[Any]) -> SessionBegan:
    """The session of a command that gives these values, as it is read from a log."""
    space = Space.of(GNNConfig, "family", given)
    spec = {
        "fixed": dict(space.fixed),
        "defaults": {value: asdict(space.default(value)) for value in space.compared},
        "baselines": {value: asdict(space.baseline(value)) for value in space.compared},
    }
    written = to_json(began(spec=plain(spec), space=plain(space.searched())))
    read = from_json(written)
    assert isinstance(read, SessionBegan)
    return read


def said(known: SessionBegan, given: SessionBegan) -> list[str]:
    return list(widenings(known, given))


NARROWER: list[tuple[dict[str, list[Any]], dict[str, list[Any]]]] = [
    ({}, {}),
    ({}, {"width": [48]}),
    ({}, {"width": [48, 96], "learning_rate": [1e-3, 2e-3]}),
    ({}, {"family": ["gat"]}),
    ({}, {"family": ["gin", "gcn"], "edges": ["bonds"]}),
    ({}, {"family": ["deepgcn"], "depth": [20]}),
    ({"width": [32, 48, 64]}, {"width": [48, 32]}),
    ({"width": [32, 48, 64]}, {"width": [64], "head": ["mean"]}),
    ({"width": [48]}, {"width": [48], "normalization": ["layer", "none"]}),
]


@pytest.mark.parametrize(("known", "given"), NARROWER, ids=str)
def test_a_part_of_the_space_is_none_wider(
    known: dict[str, list[Any]], given: dict[str, list[Any]]
) -> None:
    assert said(session(**known), session(**given)) == []
    if known != given:
        assert said(session(**given), session(**known)) != [], "the other way round it is"


@pytest.mark.parametrize(
    ("known", "given", "expected"),
    [
        ({}, {"width": [200]}, ["--width was 32 to 128, now 200"]),
        ({}, {"width": [64, 200]}, ["--width was 32 to 128, now 64, 200"]),
        ({"width": [48]}, {"width": [64]}, ["--width was 48, now 64"]),
        ({"width": [48]}, {}, ["--width was 48, now 32 to 128"]),
        ({"width": [48]}, {"width": [48, 64]}, ["--width was 48, now 48, 64"]),
        ({"width": [32, 48]}, {}, ["--width was 32, 48, now 32 to 128"]),
        (
            {"family": ["gcn", "gin"]},
            {"family": ["gcn", "gat"]},
            ["--family was gcn, gin, now gcn, gat", "--heads was not searched, now 1 to 4"],
        ),
        ({}, {"gradient_clip": [0.5]}, ["--gradient-clip was not searched, now 0.5"]),
        ({}, {"gradient_clip": [1.0, 2.0]}, ["--gradient-clip was not searched, now 1.0, 2.0"]),
        ({}, {"epochs": [5]}, ["--epochs was not searched, now 5"]),
        (
            {"family": ["gcn"]},
            {"family": ["gin"], "width": [500]},
            ["--family was gcn, now gin", "--width was 32 to 128, now 500"],
        ),
    ],
    ids=str,
)
def test_what_is_wider_is_named_with_what_it_was_and_what_it_would_be(
    known: dict[str, list[Any]], given: dict[str, list[Any]], expected: list[str]
) -> None:
    assert said(session(**known), session(**given)) == expected


def ranged(low: int, high: int, **more: Any) -> SessionBegan:
    attributes = {"low": low, "high": high, "step": 1, "log": True, **more}
    width = {"name": "IntDistribution", "attributes": attributes}
    return began(space=({**SPACE[0], "distribution": width}, SPACE[1]))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (ranged(16, 32), []),
        (ranged(8, 32), ["--width was 16 to 64, now 8 to 32"]),
        (ranged(16, 64, log=False), ["--width was 16 to 64, now 16 to 64 on another scale"]),
        (began(space=SPACE[:1]), ["--learning-rate was 0.001 to 1, now not searched"]),
    ],
)
def test_a_range_that_a_changed_file_defines_is_compared_too(
    given: SessionBegan, expected: list[str]
) -> None:
    assert said(began(), given) == expected


def test_a_default_that_a_changed_file_defines_is_named_unless_its_field_was_narrowed() -> None:
    known, given = session(), session(width=[48])
    defaults = given.spec["defaults"]
    moved = {**defaults, "gcn": {**defaults["gcn"], "warmup": 0.5}}
    given = replace(given, spec={**given.spec, "defaults": moved})
    assert said(known, given) == ["defaults.gcn.warmup was 0.1, now 0.5"]
