"""Runs trials one after the other in this process, without Ray: for a debugger.

The same fits, records and checkpoints as on Ray; no trial is stopped early, and none for taking
long, since a breakpoint does.
"""

from collections.abc import Callable, Sequence

from engine.driver import Driver, Nothing, Verdict
from engine.options import Options
from trainables.config import FitConfig
from trainables.device import give_back_memory, pick_device
from trainables.rehearsal import Rehearsal, rehearse, room_gib
from trainables.stepper import TaskFactory
from trainables.worker import Worker


class LocalBackend:
    """Runs a study's trials in this process; see `engine.backend.Backend`.

    Args:
        make_task: See `TaskFactory`.
        options: Resources.
        gpus: Share of a GPU; above 0 trains on the first one.
    """

    def __init__(self, make_task: TaskFactory, options: Options, gpus: float) -> None:
        self.make_task = make_task
        self.cpus = options.cpus_per_trial
        self.gpus = gpus

    def rehearse_all(
        self, configs: Sequence[FitConfig], say: Callable[[str], None]
    ) -> list[Rehearsal]:
        """Rehearses configurations; see `rehearse`."""
        del say
        return [rehearse(config, self.make_task, self.cpus, self.gpus) for config in configs]

    def concurrent_trials(self) -> int:
        """How many trials run at once."""
        return 1

    def memory_of_a_trial(self) -> float:
        """GiB that there are for a trial."""
        return room_gib(self.gpus, 1)

    def share_gpus(self, needed_gib: float | None) -> None:
        """Leaves the GPU to one trial at a time."""

    def run(self, driver: Driver) -> None:
        """Runs trials until none is left or the session is to end."""
        device = pick_device(self.gpus, self.cpus)
        driver.agenda.begin_alone()  # as each of them is
        while not isinstance(trial := driver.next(), Nothing):
            worker = Worker(driver.begin(trial), self.make_task, device)
            driver.placed(trial.number)
            while driver.heard(worker.work()) is Verdict.GO_ON:
                pass
            del worker  # or the memory of two trials would be taken while the next one is made
            give_back_memory(device)
