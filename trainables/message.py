"""The messages that a trial's process sends to the driver of the study.

This module does not import torch, so that the driver starts fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEPTH = 3
"""Number of path components in a checkpoint's name, ``SESSION/TRIAL/checkpoint_N``."""

Row = Mapping[str, Any]
"""One epoch: its metrics, whose names contain a ``/``, and its number ``epoch``, its end
``unix_ms`` in milliseconds and ``memory_gib``."""


@dataclass(frozen=True)
class Message:
    """A report of a trial: its new epochs, or why it failed.

    Attributes:
        number: Number of the trial.
        epochs: Epochs since the trial's previous message, in order.
        checkpoint: Name of the checkpoint that contains these epochs,
            ``SESSION/TRIAL/checkpoint_N``; empty if the trial failed or ran out of memory.
        where: Where the epochs were trained: ``node``, ``process`` and the entries of
            `trainables.device.circumstances`.
        failure: Reason why the trial failed; empty if it did not.
        out_of_memory: Message of the out-of-memory error; empty if there was none.
    """

    number: int
    epochs: tuple[Row, ...] = field(default=(), repr=False)
    checkpoint: str = ""
    where: Mapping[str, Any] = field(default_factory=dict, repr=False)
    failure: str = ""
    out_of_memory: str = ""
