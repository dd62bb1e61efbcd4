"""What a study is, as its log has it: continuing it as another one would mix two questions."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from datasets.errors import InputError
from record import names
from record.events import SessionBegan
from record.facts import BASELINES, DEFAULTS, FIXED
from record.values import plain
from studies.options import Options
from studies.space import Space
from studies.study import Study, StudyData


def spec_of(
    study: Study[Any],
    options: Options,
    data_options: Any,
    seed: int,
    data: StudyData,
    space: Space,
) -> Mapping[str, Any]:
    """What never changes of a study, see `record.facts`."""
    spec = {
        names.STUDY: study.key,
        names.OBJECTIVE: study.objective,
        names.BY: study.by,
        names.SEED: seed,
        names.PRESET: options.preset or "none",
        names.SAMPLER: options.sampler,
        "version": version("orrery"),
        **{names.OPTIONS + name: value for name, value in asdict(data_options).items()},
        names.DIGEST: data.digest,
        **{names.FACTS + name: value for name, value in data.facts.items()},
        FIXED: dict(space.fixed),
        DEFAULTS: {str(value): asdict(space.default(value)) for value in space.compared},
        BASELINES: {str(value): asdict(space.baseline(value)) for value in space.compared},
    }
    return plain(spec)


def refuse_another(name: str, known: SessionBegan, given: SessionBegan) -> None:
    """Checks that a study goes on as what it was begun as.

    Args:
        name: Its name.
        known: Its latest session.
        given: The one that is to begin.

    Raises:
        InputError: If that is something else; the message names each difference.
    """
    differences = list(_differences(_question(known), _question(given)))
    if differences:
        raise InputError(
            f"the study {name} was begun with another question: {'; '.join(differences)}; "
            "give this one a --name of its own, or repeat the command it was begun with"
        )


def _question(session: SessionBegan) -> dict[str, Any]:
    return {**session.spec, "searched": {each["key"]: each for each in session.space}}


def _differences(known: Any, given: Any, place: str = "") -> Iterator[str]:
    """Each difference between two nested values as ``place was known, now given``."""
    if isinstance(known, Mapping) and isinstance(given, Mapping):
        for key in sorted({*known, *given}):
            inner = f"{place}.{key}" if place else key
            if key not in known:
                yield f"{inner} is new"
            elif key not in given:
                yield f"{inner} is gone"
            else:
                yield from _differences(known[key], given[key], inner)
    elif known != given:
        yield f"{place} was {known}, now {given}"
