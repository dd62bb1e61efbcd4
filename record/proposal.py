"""Encodes a trial's complete proposal as text, for an MLflow tag, without loss."""

import json
from typing import Any

from record import events
from record.trial import Trial

PARTS = ("config", "drawn", "inactive", "role", "title")
"""Fields of a trial that make up its proposal."""


def written(trial: Trial) -> str:
    """Encodes the proposal of a trial as JSON.

    Raises:
        ValueError: If a value cannot be written exactly.
    """
    parts = {name: getattr(trial, name) for name in PARTS}
    return json.dumps({name: events.WRITE.get(name, str)(part) for name, part in parts.items()})


def read(text: str) -> dict[str, Any]:
    """Decodes the fields encoded by `written`.

    Raises:
        ValueError: If the text has no complete proposal.
    """
    parts = json.loads(text)
    try:
        return {name: events.READ.get(name, str)(parts[name]) for name in PARTS}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not all that was proposed of a trial: {error!r}") from error
