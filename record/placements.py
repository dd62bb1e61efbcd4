"""Converts a trial's placements to and from the tags of its MLflow run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby

from record import names
from record.trial import Placement


def in_turn(placements: Sequence[Placement]) -> dict[str, str]:
    """Returns the readable tags of the placements; consecutive equal values are merged."""
    told = {
        names.NODE: [each.node for each in placements],
        names.DEVICE: [each.device for each in placements],
        names.PROCESSOR: [each.processor for each in placements],
        names.THREADS: [str(each.threads) for each in placements],
        names.COMMIT: [each.commit for each in placements],
        names.VERSIONS: [packages(each.versions) for each in placements],
    }
    return {tag: ", ".join(text for text, _ in groupby(texts)) for tag, texts in told.items()}


def packages(versions: Mapping[str, str]) -> str:
    """Formats packages and versions as ``name==version``; a study file has digits of its hash."""
    return " ".join(f"{package}=={version}" for package, version in versions.items())


def written(placements: Sequence[Placement], longest: int) -> str:
    """Encodes the latest placements as JSON, as many as fit.

    Args:
        placements: The placements, oldest first.
        longest: Maximum length of the text, in characters.
    """
    latest: list[str] = []
    for placement in reversed(placements):
        latest.insert(0, json.dumps(asdict(placement)))
        if len(", ".join(latest)) + 2 > longest:
            del latest[0]
            break
    return f"[{', '.join(latest)}]"


def read(text: str) -> tuple[Placement, ...]:
    """Decodes placements encoded by `written`.

    Raises:
        ValueError: If the text has no placements.
    """
    try:
        return tuple(Placement(**each) for each in json.loads(text))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"no placements of a trial: {error!r}") from error
