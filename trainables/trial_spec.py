"""What a trial's process needs to know. Imports no torch: who only passes it on need not wait."""

from dataclasses import dataclass, field
from functools import partial

from record.trial import Role, Searched
from trainables.config import TrialConfig


@dataclass(frozen=True)
class TrialSpec:
    """What a trial's process needs to know.

    Attributes:
        number: Its number in the study.
        config: Its hyperparameters.
        folder: Where its checkpoints go: a path, or the address of an object store's.
        resume: Folder of the checkpoint to go on from, if the trial was begun before.
        rungs: Epochs after which it reports at once: there it may be stopped early.
        report_every: Seconds after which it reports elsewhere, at the end of the epoch; 0: after
            each epoch.
        role: What it is there for.
    """

    number: int
    config: TrialConfig
    folder: str = ""
    resume: str | None = None
    rungs: tuple[int, ...] = ()
    report_every: float = 0.0
    role: Role = field(default_factory=partial(Searched, 0))

    def is_time(self, epoch: int, seconds: float) -> bool:
        """Whether a trial reports now.

        Args:
            epoch: The one that has just ended.
            seconds: Since it reported last.
        """
        return self.is_rung(epoch) or seconds >= self.report_every

    def is_rung(self, epoch: int) -> bool:
        """Whether a verdict is due after an epoch: it may be the trial's last one."""
        return epoch in self.rungs or epoch == self.config.epochs


def trial_folder(number: int, attempt: int = 0) -> str:
    """Name of a trial's folder; sorts by number and attempt."""
    return f"trial-{number:05d}" + (f"-{attempt:03d}" if attempt else "")
