"""The interface of what executes trials: Ray (engine/on_ray/backend.py) or this process
(engine/local_backend.py)."""

from collections.abc import Callable, Sequence
from typing import Protocol

from analysis.scorecard import Scorecard
from engine.driver import Driver
from engine.gpu_share import GPUShare
from engine.scoring import ToScore
from record.outcomes import Outcomes
from trainables.config import TrialConfig
from trainables.profile import ProfileResult


class Backend(Protocol):
    """Executes a study's trials. It owns the event loop: it asks the driver for trials and reports
    their progress and endings to it."""

    def profile_all(
        self, configs: Sequence[TrialConfig], notify: Callable[[str], None]
    ) -> list[ProfileResult]:
        """Profiles configurations, each with the CPUs of one trial and, if any, a whole GPU."""
        ...

    def share_gpus(self, needed_gib: float | None) -> GPUShare | None:
        """Decides how many trials share a GPU, and uses that from now on.

        Args:
            needed_gib: GPU memory that a trial needs at most, in GiB; None if it is unknown.

        Returns:
            The share; None if each trial has the GPU to itself.
        """
        ...

    def concurrent_trials(self) -> int:
        """Returns how many trials can run at the same time."""
        ...

    def memory_of_a_trial(self) -> float:
        """Returns the memory available to each concurrent trial, in GiB."""
        ...

    def begin_scoring(self, asked: Sequence[ToScore], scorecard: Scorecard, idle: int) -> None:
        """Begins to score trials on the test split, ahead of `score_all`.

        Args:
            asked: Trials to score, some of which may have been asked for before.
            scorecard: The study's scorecard.
            idle: Number of slots that stay idle until the last trial has ended.
        """
        ...

    def score_all(self, asked: Sequence[ToScore], scorecard: Scorecard) -> list[Outcomes | str]:
        """Scores trials on the test split; see `engine.scoring.scored`."""
        ...

    def run(self, driver: Driver) -> None:
        """Runs trials until none is left or the session is to end."""
        ...
