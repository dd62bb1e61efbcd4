"""A study's command, validated as far as possible without loading data."""

import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from upath import UPath

from datasets.addresses import shown
from datasets.errors import InputError
from engine.command_line import CommandLine, parse
from engine.configurations import listed_space, read_configurations
from engine.options import LONGEST_NAME, Options, part_of_a_name, variable
from engine.space import Space
from engine.study import Study
from record.folder import StudyFolder
from record.tracking_uri import local_database

RESERVED = ("artifacts", "mlflow.db", "mlflow.db.lock", "mlflow.db.partial", "default")
"""Names that a study cannot have: files in the runs folder and experiments that MLflow uses."""


@dataclass(frozen=True)
class Command:
    """A study together with its parsed command line.

    Attributes:
        study: The study to run.
        options: Options that every study has.
        data_options: Options of the data, an instance of the study's ``data_options`` class.
        given: Config field -> the values given for it on the command line.
        arguments: The command-line arguments as they were typed.
        console: Console on which progress and results are printed.
    """

    study: Study[Any]
    options: Options
    data_options: Any
    given: Mapping[str, Sequence[Any]]
    arguments: Sequence[str]
    console: Console = field(
        default_factory=lambda: Console(soft_wrap=True, highlight=False, emoji=False)
    )

    @property
    def script(self) -> str:
        """Path of the script that was started."""
        return sys.argv[0]

    @property
    def text(self) -> str:
        """The command line, quoted for a shell and without passwords."""
        return shlex.join(["python", self.script, *map(shown, self.arguments)])

    @property
    def seed(self) -> int:
        """Seed of the sampler, the data split and, unless the seed is searched, the trials."""
        return int(self.given.get("seed", [0])[0])

    @property
    def finalists(self) -> int:
        """Number of finalists, not counting the default configuration."""
        if self.options.finalists is not None:
            return self.options.finalists
        return 0 if self.options.local else self.study.finalists

    @property
    def final_seeds(self) -> int:
        """Number of trainings of each finalist."""
        return self.options.seeds or self.study.seeds

    @property
    def name(self) -> str:
        """Name of the study; by default composed of the study, the data and the preset."""
        if self.options.name:
            return self.options.name
        parts = [self.options.preset or "", "smoke" * self.options.smoke]
        after = "".join(f"-{part}" for part in parts if part)
        title = self.data_title(LONGEST_NAME - len(f"{self.study.key}-{after}"))
        return f"{self.study.key}{f'-{title}' if title else ''}{after}"

    @property
    def earlier(self) -> tuple[str, ...]:
        """Names of the earlier studies to start from, each once."""
        return tuple(dict.fromkeys(self.options.from_))

    def data_title(self, longest: int = LONGEST_NAME) -> str:
        """Returns the name of the data as part of a study's name, without passwords.

        Args:
            longest: Maximum length, in characters.
        """
        return part_of_a_name(shown(self.study.data_title(self.data_options)), longest)

    @cached_property
    def storage(self) -> UPath | None:
        """Shared storage of all nodes, tested by writing and reading a file; None without one.

        Raises:
            InputError: If the storage cannot be used.
        """
        if self.options.storage is None:
            return None
        from engine.storage import open_storage

        return open_storage(self.options.storage)

    @cached_property
    def folder(self) -> StudyFolder:
        """Folder layout of the study."""
        return StudyFolder(self.options.runs_dir, self.name, self.storage)

    @property
    def is_on_cluster(self) -> bool:
        """True if the trials run on a Ray cluster given by its address."""
        return self.options.cluster is not None

    def notify(self, text: str) -> None:
        """Prints text to the console, without interpreting markup."""
        self.console.print(text, markup=False)

    def space(self, decided: Mapping[str, Sequence[Any]]) -> Space:
        """Builds the search space.

        Args:
            decided: Config fields whose values are determined by the data.

        Raises:
            InputError: If the command line does not fit the search space.
        """
        presets, name = self.study.presets, self.options.preset
        if name is not None and name not in presets:
            raise InputError(f"unknown --preset {name}: expected {', '.join(presets)}")
        preset = presets[name] if name else None
        baseline = presets[self.study.baseline] if self.study.baseline else None
        is_grid = self.options.sampler == "grid"
        named = self.study.grids.get(name, {}) if name and is_grid else {}
        given = {**decided, **named, **self.given}
        of = (self.study.config, self.study.group_by)
        if self.options.configurations is not None:
            listed = read_configurations(self.options.configurations, self.study.config)
            return listed_space(*of, listed, given, baseline)
        if self.options.sampler == "grid":
            return Space.of(*of, given, preset, baseline, only=given).grid()
        return Space.of(*of, given, preset, baseline)

    def environment(self) -> str:
        """Returns the ``ORRERY_*`` variables that set option defaults, in shell syntax.

        No other variables are included: they may hold secrets, and the record is published.
        """
        options = (*fields(self.options), *fields(self.data_options))
        taken = [each.name for each in options if not isinstance(each.default, bool)]
        names = sorted(map(variable, taken))
        there = {name: os.environ.get(name) for name in names}
        return shlex.join(f"{name}={shown(value)}" for name, value in there.items() if value)


def command_of(study: Study[Any], arguments: Sequence[str]) -> Command:
    """Parses a study's command line and validates it.

    Creates the runs and data folders and checks that they can be written to.

    Raises:
        InputError: If the command line is invalid, a folder cannot be written to, the tracking
            server does not answer, or the name is reserved.
    """
    typed = parse(arguments, study.question, study.data_options, study.config, study.data_file)
    typed = _tiny(study, typed) if typed.options.smoke else typed
    command = Command(study, typed.options, typed.data, typed.given, arguments)
    command.space({})
    if typed.options.workers_per_trial and not study.spreads:
        raise InputError(
            f"--workers-per-trial {typed.options.workers_per_trial}: expected none, as a trial of "
            "this study trains in one process, to which --cpus-per-trial gives cores"
        )
    _check_writable(typed.options.runs_dir)
    _check_writable(typed.options.data_dir)
    _check_tracking(typed.options.tracking_uri)
    if command.name.lower() in RESERVED:
        raise InputError(f"--name {command.name} is taken by MLflow's own files: choose another")
    return command


def _tiny(study: Study[Any], typed: CommandLine) -> CommandLine:
    """Returns the smoke-test version of a command: little data, few epochs, only the trials that
    come first in the space."""
    given = {**study.smoke_config, **typed.given}
    space = Command(study, typed.options, typed.data, given, ()).space({})
    asked = typed.options.finalists
    options = replace(
        typed.options,
        trials=len(space.first()),
        finalists=1 if asked is None else min(1, asked),
        seeds=min(2, typed.options.seeds or study.seeds),
    )
    return CommandLine(options, replace(typed.data, **study.smoke), given)


def _check_tracking(uri: str) -> None:
    if local_database(uri) is None:
        from record.tracking import check_answers  # imports MLflow, which takes a second

        check_answers(uri)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write into {folder} ({error.strerror}): choose another --runs-dir or "
            "--data-dir, or change its permissions"
        ) from error
