"""The studies that the pages of results list ask for the very configurations that are rows."""

import re
import runpy
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from moving_stripes import striped_drives
from pages import COMMANDS, EXPERIMENTS
from places import ROOT

from benchmarks.homework_loop import LoopProblem
from benchmarks.rows import TABLES
from engine.command import Command
from engine.command_line import parse
from trainables.config import TrialConfig

ROWS = [command.split()[2:] for command in COMMANDS if "benchmarks/rows.py" in command]
"""Table, experiment and studies of each command that makes rows."""

LISTED = [made for made in ROWS if made[1] not in ("best", "prior")]
"""Those of configurations that a command lists; the others are what a search found."""


@dataclass(frozen=True)
class Asked:
    """A study as its command asks for it.

    Attributes:
        split: Of the data.
        configs: The configurations whose finals may be rows.
        has_all: Whether each of them becomes a finalist, however it does.
    """

    split: str
    configs: set[TrialConfig]
    has_all: bool


def asked(name: str) -> Asked:
    """What the command of a study asks for; a baseline that is no default, and that the command
    does not list itself, is not to be a row."""
    (command,) = (each for each in EXPERIMENTS if f"--name {name} " in each)
    _, script, *arguments = shlex.split(command)
    study = runpy.run_path(str(ROOT / script))["STUDY"]
    typed = parse(arguments, "", study.data_options, study.config, study.data_file)
    decided = LoopProblem(striped_drives()).decided if "homework_loop" in script else {}
    if getattr(typed.data, "prior", "none") != "none":
        decided = {"delta": [True], "head": ["dipole"]}
    made = Command(study, typed.options, typed.data, typed.given, arguments)
    space = made.space(decided)
    defaults = [space.default(value) for value in space.compared]
    others = {
        baseline
        for value, default in zip(space.compared, defaults, strict=True)
        if (baseline := space.baseline(value)) != _with(default, baseline, typed.given)
    }
    every = {*(space.listed or defaults)}
    # The default of the first compared value is a finalist in any case.
    has_all = made.finalists >= len(every) or every - others == {defaults[0]}
    split = getattr(typed.data, "split_method", typed.data.split)
    return Asked(split, every - others, has_all)


def _with(default: TrialConfig, baseline: TrialConfig, fields: Iterable[str]) -> TrialConfig:
    """The default configuration with a baseline's values of some fields."""
    return replace(default, **{field: getattr(baseline, field) for field in fields})


def configurations(table: str, experiment: str) -> Iterator[tuple[str, Any]]:
    for row in TABLES[table].read():
        if row.experiment == experiment:
            yield row.split, replace(row.configuration, seed=0)


def test_every_experiment_has_its_command() -> None:
    assert sorted((table, experiment) for table, experiment, *_ in ROWS) == sorted(
        (name, experiment) for name, table in TABLES.items() for experiment in table.experiments
    )
    studies = [study for _, _, *studies in ROWS for study in studies]
    assert len(studies) == len({*studies})
    names = [found[1] for each in EXPERIMENTS if (found := re.search(r"--name (\S+)", each))]
    assert sorted(studies) == sorted(names)


@pytest.mark.parametrize("made", LISTED, ids=" ".join)
def test_a_study_asks_for_the_configurations_of_its_rows(
    made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    table, experiment, *studies = made
    every = [asked(name) for name in studies]
    wanted = {(each.split, config) for each in every for config in each.configs}
    assert {*configurations(table, experiment)} == wanted
    assert all(each.has_all for each in every)
