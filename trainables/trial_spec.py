"""The specification that the driver sends to a trial's process.

This module does not import torch, so that processes that only pass a specification on start fast.
"""

from dataclasses import dataclass, field
from functools import partial

from record.trial import Role, Searched
from trainables.config import TrialConfig


@dataclass(frozen=True)
class TrialSpec:
    """Everything that a process needs in order to train a trial.

    Attributes:
        number: Number of the trial in the study.
        config: Hyperparameters of the trial.
        folder: Folder for the trial's checkpoints: a path, or an address in an object store.
        resume: Folder of the checkpoint to resume from; None if the trial starts fresh.
        rungs: Epochs after which the trial always reports, because it may be stopped early there.
        report_every: Seconds between reports at other epochs; the trial reports at the end of the
            first epoch after that time. With 0 it reports after each epoch.
        role: Purpose of the trial: part of the search, or a replicate of a finalist.
    """

    number: int
    config: TrialConfig
    folder: str = ""
    resume: str | None = None
    rungs: tuple[int, ...] = ()
    report_every: float = 0.0
    role: Role = field(default_factory=partial(Searched, 0))

    def is_time(self, epoch: int, seconds: float) -> bool:
        """Returns whether the trial has to report now.

        Args:
            epoch: The epoch that has just ended.
            seconds: Time since the last report.
        """
        return self.is_rung(epoch) or seconds >= self.report_every

    def is_rung(self, epoch: int) -> bool:
        """Returns whether an epoch is a rung or the last one, after which the trial may end."""
        return epoch in self.rungs or epoch == self.config.epochs


def trial_folder(number: int, attempt: int = 0) -> str:
    """Returns the name of a trial's folder; names sort by number, then by attempt."""
    return f"trial-{number:05d}" + (f"-{attempt:03d}" if attempt else "")
