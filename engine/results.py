"""Converts messages from a trial's process into the record's types."""

from collections.abc import Mapping
from typing import Any

from engine.provenance import Code
from record.trial import Placement, Report
from trainables.message import Row


def report_of(row: Row) -> Report:
    """Converts one epoch of a message or a checkpoint into a report."""
    metrics = {name: row[name] for name in row if "/" in name}
    return Report(row["epoch"], row["unix_ms"], row["memory_gib"], metrics)


def placement_of(where: Mapping[str, Any], code: Code) -> Placement:
    """Returns the placement of a trial: its node, device, process and code version.

    Args:
        where: The ``where`` of a `trainables.message.Message`.
        code: Version of the code that trains the trial.
    """
    return Placement(
        node=where["node"],
        device=where["device"],
        processor=where["processor"],
        threads=int(where["threads"]),
        process=where["process"],
        commit=code.commit,
        versions=code.versions,
    )
