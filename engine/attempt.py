"""A trial in this session: what was heard of it that is not in the log."""

from dataclasses import dataclass
from datetime import datetime

from record.trial import Report, Trial


@dataclass
class Attempt:
    """A trial that runs in this session, or waits for its place.

    Attributes:
        number: The trial's.
        epoch: How many epochs its newest checkpoint holds.
        missing: The last ones of these, from the first on that the log has not, or otherwise: the
            session that trained them was cut off before it was told.
        checkpoint: Name of that checkpoint; empty: there is none.
        last_heartbeat: When there was a sign of life, in seconds of the clock of the log.
        placed: When it got its place; None: it waits for one.
        is_recorded: Whether the log knows that place.
    """

    number: int
    epoch: int
    missing: tuple[Report, ...]
    checkpoint: str
    last_heartbeat: float
    placed: datetime | None = None
    is_recorded: bool = False


def begun(trial: Trial, saved: tuple[Report, ...], checkpoint: str, now: float) -> Attempt:
    """A trial that begins, or goes on from a checkpoint.

    Args:
        trial: As the log has it.
        saved: The epochs that the checkpoint holds.
        checkpoint: Its name.
        now: What the clock of the log shows.
    """
    logged = 0
    while logged < min(len(saved), trial.epoch) and saved[logged] == trial.reports[logged]:
        logged += 1
    return Attempt(trial.number, len(saved), saved[logged:], checkpoint, now)
