"""Runs trials one after the other in this process, without Ray: for a debugger.

The same fits, records and checkpoints as on Ray; no trial is stopped early, and none for taking
long, since a breakpoint does.
"""

from collections.abc import Callable, Sequence

from studies.ledger import Ledger
from studies.options import Options
from studies.search import Proposal
from trainables import checkpoint
from trainables.config import FitConfig
from trainables.device import give_back_memory, pick_device
from trainables.rehearsal import Rehearsal, rehearse, room_gib
from trainables.stepper import Stepper, TaskFactory
from trainables.trial_spec import TrialSpec, trial_folder


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

    def run_trials(self, ledger: Ledger, session: str) -> None:
        """Runs trials until the ledger has none left or the session is to end.

        Args:
            ledger: Gives the trials and hears of them.
            session: Name of this session.
        """
        device = pick_device(self.gpus, self.cpus)
        ledger.begin_alone()  # as each of them is
        while (proposal := ledger.next()) is not None:
            resume = ledger.resume_from(proposal)
            resumed = str(resume) if resume else None
            spec = TrialSpec(proposal.number, proposal.config, proposal.baseline, resumed)
            ledger.started(proposal.number)
            stepper = Stepper(spec, self.make_task, device)
            _run(ledger, proposal, stepper, f"{session}/{trial_folder(spec.number)}")
            del stepper  # or the memory of two trials would be taken while the next one is made
            give_back_memory(device)


def _run(ledger: Ledger, proposal: Proposal, stepper: Stepper, folder: str) -> None:
    number = proposal.number
    while not ledger.should_stop():
        result = stepper.step()
        if "failure" in result:
            ledger.failed(number, result["failure"])
            return
        if "out_of_memory" in result:
            ledger.out_of_memory(number, result["out_of_memory"])
            return
        ledger.epoch(number, result)
        name = f"{folder}/checkpoint_{result['epoch']:06d}"
        stepper.save(ledger.checkpoints.root / name)
        ledger.saved(number, name)
        ledger.checkpoints.keep(number, checkpoint.KEPT)
        if result["done"]:
            ledger.ended(number)
            return
