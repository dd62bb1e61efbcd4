"""Runs trials one after the other in this process, without Ray: for a debugger.

Trials, records and checkpoints are those of Ray; no trial is stopped early, and none for taking
long, since a breakpoint does.
"""

from collections.abc import Callable, Sequence
from typing import Any

from analysis.scorecard import Scorecard
from engine.driver import Driver, Nothing, Verdict
from engine.options import Options
from engine.scoring import ToScore, scored
from record.outcomes import Outcomes
from trainables.config import TrialConfig
from trainables.device import give_back_memory, pick_device
from trainables.problem import Problem
from trainables.profile import ProfileResult, profile, room_gib
from trainables.worker import Worker


class LocalBackend:
    """Runs a study's trials in this process; see `engine.backend.Backend`.

    Args:
        problem: What trials learn from.
        options: Resources.
        gpus: Share of a GPU; above 0 trains on the first one.
    """

    def __init__(self, problem: Problem[Any], options: Options, gpus: float) -> None:
        self.problem = problem
        self.cpus = options.cpus_per_trial
        self.gpus = gpus

    def profile_all(
        self, configs: Sequence[TrialConfig], notify: Callable[[str], None]
    ) -> list[ProfileResult]:
        """Profiles configurations; see `trainables.profile.profile`."""
        del notify
        return [profile(config, self.problem, self.cpus, self.gpus) for config in configs]

    def concurrent_trials(self) -> int:
        """How many trials run at once."""
        return 1

    def memory_of_a_trial(self) -> float:
        """GiB that there are for a trial."""
        return room_gib(self.gpus, 1)

    def share_gpus(self, needed_gib: float | None) -> None:
        """Leaves the GPU to one trial at a time."""

    def score_all(self, asked: Sequence[ToScore], scorecard: Scorecard) -> list[Outcomes | str]:
        """Scores trials on the test split; see `engine.scoring.scored`."""
        return [scored(each, scorecard, self.problem, self.cpus) for each in asked]

    def run(self, driver: Driver) -> None:
        """Runs trials until none is left or the session is to end."""
        device = pick_device(self.gpus, self.cpus)
        driver.agenda.begin_alone()  # as each of them is
        while not isinstance(trial := driver.next(), Nothing):
            worker = Worker(driver.begin(trial), self.problem, device)
            driver.placed(trial.number)
            while driver.heard(worker.work()) is Verdict.GO_ON:
                pass
            del worker  # or the memory of two trials would be taken while the next one is made
            give_back_memory(device)
