"""What a trial's process says to the study. Imports no torch: the study need not wait for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEPTH = 3
"""Parts of a checkpoint's name: ``SESSION/TRIAL/checkpoint_N``."""

Row = Mapping[str, Any]
"""An epoch: its metrics, whose names have a ``/``, ``epoch``, ``unix_ms`` and ``memory_gib``."""


@dataclass(frozen=True)
class Message:
    """Some epochs of a trial, or why it has no result.

    Attributes:
        number: The trial's.
        epochs: The epochs since the message before, the first one first.
        checkpoint: Name of the checkpoint that holds them: ``SESSION/TRIAL/checkpoint_N``; empty:
            none does, as the trial has no result.
        where: Where and with what they were trained: ``node``, ``process`` and what
            `trainables.device.circumstances` says.
        failure: Why the trial failed; empty: it did not.
        out_of_memory: What it asked for in vain; empty: there was enough.
    """

    number: int
    epochs: tuple[Row, ...] = field(default=(), repr=False)
    checkpoint: str = ""
    where: Mapping[str, Any] = field(default_factory=dict, repr=False)
    failure: str = ""
    out_of_memory: str = ""
