"""What a trial's process needs to know. Imports no torch: who only passes it on need not wait."""

from dataclasses import dataclass

from trainables.config import FitConfig


@dataclass(frozen=True)
class TrialSpec:
    """What a trial's process needs to know.

    Attributes:
        number: Its number in the study.
        config: What to fit.
        folder: Where its checkpoints go: a path, or the address of an object store's.
        resume: Folder of the checkpoint to go on from, if the trial was begun before.
        rungs: Epochs after which it reports at once: there it may be stopped early.
        report_every: Seconds after which it reports elsewhere, at the end of the epoch; 0: after
            each epoch.
    """

    number: int
    config: FitConfig
    folder: str = ""
    resume: str | None = None
    rungs: tuple[int, ...] = ()
    report_every: float = 0.0

    def is_time(self, epoch: int, seconds: float) -> bool:
        """Whether a trial reports now.

        Args:
            epoch: The one that has just ended.
            seconds: Since it reported last.
        """
        is_rung = epoch in self.rungs or epoch == self.config.epochs
        return is_rung or seconds >= self.report_every


def trial_folder(number: int, attempt: int = 0) -> str:
    """Name of a trial's folder; sorts by number and attempt."""
    return f"trial-{number:05d}" + (f"-{attempt:03d}" if attempt else "")
