"""Runs trials one after the other in this process, without Ray, for use with a debugger.

Trials, records and checkpoints are the same as with Ray. No trial is stopped early, and there is
no timeout, because a breakpoint may take any time.
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
    """Runs a study's trials in this process; implements `engine.backend.Backend`.

    Args:
        problem: Data and task that the trials learn from.
        options: Options of the study, which set the CPU cores of a trial.
        gpus: GPUs of a trial; if above 0, trials train on the first GPU.
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
        """Returns 1: trials run one at a time."""
        return 1

    def memory_of_a_trial(self) -> float:
        """Returns the memory available to a trial, in GiB."""
        return room_gib(self.gpus, 1)

    def share_gpus(self, needed_gib: float | None) -> None:
        """Does nothing: one trial at a time has the whole GPU."""

    def begin_scoring(self, asked: Sequence[ToScore], scorecard: Scorecard, idle: int) -> None:
        """Does nothing: no slot idles while a trial runs."""

    def score_all(self, asked: Sequence[ToScore], scorecard: Scorecard) -> list[Outcomes | str]:
        """Scores trials on the test split; see `engine.scoring.scored`."""
        return [scored(each, scorecard, self.problem, self.cpus) for each in asked]

    def run(self, driver: Driver) -> None:
        """Runs trials until none is left or the session is to end."""
        device = pick_device(self.gpus, self.cpus)
        driver.agenda.begin_alone()  # every trial runs alone here
        while not isinstance(trial := driver.next(), Nothing):
            worker = Worker(driver.begin(trial), self.problem, device)
            driver.placed(trial.number)
            while driver.heard(worker.work()) is Verdict.GO_ON:
                pass
            del worker  # otherwise two trials' memory is in use while the next worker is created
            give_back_memory(device)
