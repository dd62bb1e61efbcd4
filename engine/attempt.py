"""A trial in this session: what was heard of it that is not in the log yet."""

from dataclasses import dataclass
from datetime import datetime

from record.trial import Report, Trial


@dataclass
class Attempt:
    """A trial that runs in this session, or waits for its place.

    Attributes:
        number: The trial's.
        reports: Its epochs as far as they were heard of, the first one first.
        saved: How many of them a checkpoint holds.
        logged: How many of them the log holds.
        checkpoint: Name of the checkpoint that holds `saved`; empty: there is none.
        heard: When there was a sign of life, in seconds of the clock of the log.
        placed: When it got its place; None: it waits for one.
        is_recorded: Whether the log knows that place.
        is_leaving: Whether it is being stopped only because the session ends.
    """

    number: int
    reports: list[Report]
    saved: int
    logged: int
    checkpoint: str
    heard: float
    placed: datetime | None = None
    is_recorded: bool = False
    is_leaving: bool = False

    @property
    def epoch(self) -> int:
        """How many epochs are done, saved or not."""
        return len(self.reports)

    def take(self, report: Report) -> bool:
        """Takes an epoch in; one that was done before, and lost with its process, counts anew.

        Returns:
            Whether it is news; what a checkpoint holds is not.

        Raises:
            ValueError: If one before it is missing.
        """
        if report.epoch <= self.saved:
            return False
        if report.epoch > self.epoch + 1:
            raise ValueError(f"trial {self.number} did epoch {report.epoch} after {self.epoch}")
        del self.reports[report.epoch - 1 :]
        self.reports.append(report)
        return True

    def save(self, checkpoint: str) -> None:
        """All epochs so far are in a checkpoint of this name."""
        self.saved, self.checkpoint = self.epoch, checkpoint

    def not_logged(self) -> tuple[Report, ...]:
        """The epochs that the log lacks."""
        return tuple(self.reports[self.logged :])

    def saved_and_not_logged(self) -> tuple[Report, ...]:
        """The same, as far as a checkpoint holds them: those that count."""
        return tuple(self.reports[self.logged : self.saved])


def resumed(trial: Trial, history: list[Report], checkpoint: str, now: float) -> Attempt:
    """A trial that goes on from a checkpoint, or begins.

    Args:
        trial: As the log knows it.
        history: The epochs that the checkpoint holds.
        checkpoint: Its name.
        now: What the clock of the log shows.
    """
    logged = 0
    while logged < min(len(history), trial.epoch) and history[logged] == trial.reports[logged]:
        logged += 1
    return Attempt(trial.number, history, len(history), logged, checkpoint, now)
