"""What a trial's process says after an epoch, in the record's terms."""

import os
import platform
from collections.abc import Mapping
from typing import Any

from record.trial import Placement, Report
from studies.provenance import Code


def report_of(row: Mapping[str, Any]) -> Report:
    """An epoch.

    Args:
        row: What `Stepper.step` returned, or what a checkpoint holds of the epoch; other keys,
            such as Tune's own, do not matter.
    """
    metrics = {name: row[name] for name in row if "/" in name}
    return Report(row["epoch"], row["unix_ms"], row["memory_gib"], metrics)


def placement_of(result: Mapping[str, Any], code: Code) -> Placement:
    """Where and with what an epoch was trained.

    Args:
        result: What `Stepper.step` returned; Tune adds ``hostname`` and ``pid``, and where it did
            not, it was this process.
        code: Of the study.
    """
    return Placement(
        node=result.get("hostname", platform.node()),
        device=result["device"],
        processor=result["processor"],
        threads=int(result["threads"]),
        process=result.get("pid", os.getpid()),
        commit=code.commit,
        versions=code.versions,
    )
