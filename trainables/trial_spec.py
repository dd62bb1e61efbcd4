"""What a trial needs to know. Imports no torch: a process that only passes it on need not wait."""

from dataclasses import dataclass

from trainables.config import FitConfig


@dataclass(frozen=True)
class TrialSpec:
    """What a trial needs to know.

    Attributes:
        number: Its number in the study.
        config: What to fit.
        baseline: Whether it is the default of its family, which is never stopped early.
        resume: Folder of the checkpoint to go on from, if the trial was begun before: a path, or
            the address of an object store's.
        attempt: Counts the processes in which this session began it, from 0.
    """

    number: int
    config: FitConfig
    baseline: bool = False
    resume: str | None = None
    attempt: int = 0


def trial_folder(number: int, attempt: int = 0) -> str:
    """Name of a trial's folder; sorts by number and attempt."""
    return f"trial-{number:05d}" + (f"-{attempt:03d}" if attempt else "")
