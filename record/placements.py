"""Where and with what a trial ran, in the words that its run in MLflow has for it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby

from record import names
from record.trial import Placement


def in_turn(placements: Sequence[Placement]) -> dict[str, str]:
    """Tag -> what it says of the placements, one after the other where that changed."""
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
    """Packages and their versions, as pip takes them."""
    return " ".join(f"{package}=={version}" for package, version in versions.items())


def written(placements: Sequence[Placement], longest: int) -> str:
    """The latest placements, as many as fit into a text of this length, as JSON."""
    latest: list[str] = []
    for placement in reversed(placements):
        latest.insert(0, json.dumps(asdict(placement)))
        if len(", ".join(latest)) + 2 > longest:
            del latest[0]
            break
    return f"[{', '.join(latest)}]"


def read(text: str) -> tuple[Placement, ...]:
    """The placements that `written` wrote.

    Raises:
        ValueError: If it did not.
    """
    try:
        return tuple(Placement(**each) for each in json.loads(text))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"no placements of a trial: {error!r}") from error
