"""What runs the trials of a study: Ray (engine.on_ray.backend.py), or this process
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
    """Runs a study's trials. It owns the loop: the driver is asked for trials, and told of what
    becomes of them."""

    def profile_all(
        self, configs: Sequence[TrialConfig], notify: Callable[[str], None]
    ) -> list[ProfileResult]:
        """Profiles configurations, each with the resources of a trial, or a whole GPU."""
        ...

    def share_gpus(self, needed_gib: float | None) -> GPUShare | None:
        """Decides how many trials share a GPU, of which each needs so much memory at most, where
        that is known; None: a trial has it to itself."""
        ...

    def concurrent_trials(self) -> int:
        """How many trials run at once."""
        ...

    def memory_of_a_trial(self) -> float:
        """GiB that there are for each of them."""
        ...

    def score_all(self, asked: Sequence[ToScore], scorecard: Scorecard) -> list[Outcomes | str]:
        """Scores trials on the test split; see `engine.scoring.scored`."""
        ...

    def run(self, driver: Driver) -> None:
        """Runs trials until none is left or the session is to end."""
        ...
