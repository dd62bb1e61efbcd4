"""Configurations that are listed, by a grid or in a file, and not drawn."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from datasets.errors import InputError, described
from engine.space import Fields, Space
from record.events import Proposed
from record.state import StudyState
from record.trial import Baseline, Searched, Trial
from record.values import plain
from trainables.config import FitConfig


class Listed:
    """Proposes one listed configuration after the other.

    Args:
        state: The study.
        space: With a list of configurations.
    """

    called = "trials"
    stops_early = True

    def __init__(self, state: StudyState, space: Space) -> None:
        assert space.listed is not None
        self.state = state
        self.space = space
        self.configs = space.listed

    def trials(self) -> tuple[Trial, ...]:
        """See `engine.proposers.Proposer`."""
        return self.state.search()

    def propose(self, at: datetime) -> Proposed:
        """See `engine.proposers.Proposer`."""
        index = self.state.next_index
        config = self.configs[index]
        return Proposed(
            number=self.state.next_number,
            config=plain(asdict(config)),
            drawn=plain(self.space.drawn(config)),
            role=Baseline(index) if self.space.is_baseline(index) else Searched(index),
            at=at,
            title=config.title,
        )

    def tell(self, trial: Trial) -> None:
        """Nothing: no other one depends on it."""


def read_configurations(file: Path, config: type[FitConfig]) -> list[dict[str, Any]]:
    """The fields that each configuration of a file sets.

    Raises:
        InputError: If it cannot be read, or has something else.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"--configurations {file}: cannot be read ({described(error)})"
        ) from error
    expected = 'expected a list of objects, such as [{"depth": 3}, {"depth": 4}]'
    if not isinstance(found, list) or not found or not all(isinstance(c, dict) for c in found):
        raise InputError(f"--configurations {file}: {expected}")
    known = {field.name for field in fields(config)}
    for place, each in enumerate(found, start=1):
        if unknown := each.keys() - known:
            raise InputError(
                f"--configurations {file}: the configuration {place} has {min(unknown)}, expected "
                f"some of {', '.join(sorted(known))}"
            )
    return found


def listed_space(
    config: type[FitConfig],
    by: str,
    listed: Sequence[Mapping[str, Any]],
    given: Mapping[str, Sequence[Any]],
    reference: Fields | None,
) -> Space:
    """The space of configurations of a file.

    Args:
        config: The config dataclass.
        by: See `Space`.
        listed: What each configuration sets.
        given: What the user, or the data, decided for all of them.
        reference: See `Space`.

    Raises:
        InputError: If a configuration is none, sets what was decided otherwise, or the number of
            epochs, which is the same for all.
    """
    fixed = {name: values[0] for name, values in given.items() if len(values) == 1}
    configs = [_made(config, place, each, fixed) for place, each in enumerate(listed, start=1)]
    compared = list(dict.fromkeys(getattr(each, by) for each in configs))
    return Space.of(config, by, {**given, by: compared}, None, reference, only=()).listing(configs)


def _made(
    config: type[FitConfig], place: int, values: Mapping[str, Any], fixed: Mapping[str, Any]
) -> FitConfig:
    if clash := (values.keys() & fixed.keys()) | ({"epochs", "seed"} & values.keys()):
        name = min(clash)
        raise InputError(
            f"--configurations: the configuration {place} sets {name}, which is the same for all: "
            f"give it as --{name.replace('_', '-')}"
        )
    try:
        return config(**{**fixed, **values})
    except (InputError, TypeError, ValueError) as error:
        raise InputError(
            f"--configurations: the configuration {place}: {described(error)}"
        ) from error
