"""Runs trials one after the other in this process, without Ray: for a debugger.

The same fits, records and checkpoints as on Ray; no trial is stopped early, and none for taking
long, since a breakpoint does.
"""

from collections.abc import Callable, Sequence

from studies.options import Options
from studies.trials import Trials
from trainables.config import FitConfig
from trainables.device import give_back_memory, pick_device
from trainables.rehearsal import Rehearsal, rehearse, room_gib
from trainables.stepper import Stepper, TaskFactory
from trainables.trial_spec import trial_folder


class LocalRunner:
    """Runs a study's trials in this process.

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

    def run_trials(self, trials: Trials, session: str) -> None:
        """Runs trials until none is left or the session is to end.

        Args:
            trials: Gives them and hears of them.
            session: Name of this session.
        """
        device = pick_device(self.gpus, self.cpus)
        trials.agenda.begin_alone()  # as each of them is
        while (trial := trials.next()) is not None:
            spec = trials.begin(trial)
            trials.placed(trial.number)
            stepper = Stepper(spec, self.make_task, device)
            _run(trials, trial.number, stepper, f"{session}/{trial_folder(spec.number)}")
            del stepper  # or the memory of two trials would be taken while the next one is made
            give_back_memory(device)


def _run(trials: Trials, number: int, stepper: Stepper, folder: str) -> None:
    while not trials.agenda.should_stop():
        result = stepper.step()
        if "failure" in result:
            trials.failed(number, result["failure"])
            return
        if "out_of_memory" in result:
            trials.out_of_memory(number, result["out_of_memory"])
            return
        trials.epoch(number, result)
        name = f"{folder}/checkpoint_{result['epoch']:06d}"
        stepper.save(trials.checkpoints.root / name)
        trials.saved(number, name)
        trials.trim(number)
        if result["done"]:
            trials.completed(number)
            return
