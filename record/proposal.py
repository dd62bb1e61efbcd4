"""All that was proposed of a trial as one text, for a tag: read back, it is equal."""

import json
from typing import Any

from record import events
from record.trial import Trial

PARTS = ("config", "drawn", "inactive", "role", "title")
"""Fields of a trial."""


def written(trial: Trial) -> str:
    """What was proposed of a trial, as JSON.

    Raises:
        ValueError: If something in it cannot be written exactly.
    """
    parts = {name: getattr(trial, name) for name in PARTS}
    return json.dumps({name: events.WRITE.get(name, str)(part) for name, part in parts.items()})


def read(text: str) -> dict[str, Any]:
    """The fields that `written` wrote.

    Raises:
        ValueError: If it did not.
    """
    parts = json.loads(text)
    try:
        return {name: events.READ.get(name, str)(parts[name]) for name in PARTS}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not all that was proposed of a trial: {error!r}") from error
