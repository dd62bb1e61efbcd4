"""What a trial's process says, in the record's terms."""

from collections.abc import Mapping
from typing import Any

from engine.provenance import Code
from record.trial import Placement, Report
from trainables.message import Row


def report_of(row: Row) -> Report:
    """An epoch, as a message or a checkpoint has it."""
    metrics = {name: row[name] for name in row if "/" in name}
    return Report(row["epoch"], row["unix_ms"], row["memory_gib"], metrics)


def placement_of(where: Mapping[str, Any], code: Code) -> Placement:
    """Where and with what a trial is trained.

    Args:
        where: See `trainables.message.Message`.
        code: Of the study.
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
