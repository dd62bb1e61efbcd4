"""The live state of a trial in this session, which is not (yet) in the log."""

from dataclasses import dataclass
from datetime import datetime

from record.trial import Report, Trial


@dataclass
class Attempt:
    """A trial that is running in this session, or is waiting for a free slot.

    Attributes:
        number: Number of the trial.
        epoch: Number of epochs in its newest checkpoint.
        missing: Reports of the checkpoint's last epochs, from the first one that the log lacks or
            has with other values. They exist if an earlier session was cut off after it wrote the
            checkpoint and before it logged these epochs.
        checkpoint: Name of that checkpoint; empty if there is none.
        last_heartbeat: Time of the last sign of life, in seconds of the log's clock.
        placed: Time at which the trial got a slot; None while it waits for one.
        is_recorded: True once the log has this placement.
    """

    number: int
    epoch: int
    missing: tuple[Report, ...]
    checkpoint: str
    last_heartbeat: float
    placed: datetime | None = None
    is_recorded: bool = False


def begun(trial: Trial, saved: tuple[Report, ...], checkpoint: str, now: float) -> Attempt:
    """Returns the attempt for a trial that begins, or resumes from a checkpoint.

    Args:
        trial: The trial as it is in the log.
        saved: Reports of the epochs that the checkpoint holds.
        checkpoint: Name of the checkpoint; empty if there is none.
        now: Current time of the log's clock, in seconds.
    """
    logged = 0
    while logged < min(len(saved), trial.epoch) and saved[logged] == trial.reports[logged]:
        logged += 1
    return Attempt(trial.number, len(saved), saved[logged:], checkpoint, now)
