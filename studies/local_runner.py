"""Runs trials one after the other in this process, without Ray: for a debugger.

The same fits, records and checkpoints as on Ray; no trial is stopped early, and none for taking
long, since a breakpoint does.
"""

from studies.ledger import Ledger
from studies.search import Proposal
from trainables import checkpoint
from trainables.device import pick_device
from trainables.stepper import Stepper, TaskFactory
from trainables.trial_spec import TrialSpec, trial_folder


def run_trials(
    ledger: Ledger, make_task: TaskFactory, session: str, cpus: int, gpus: float
) -> None:
    """Runs trials until the ledger has none left or the session is to end.

    Args:
        ledger: Gives the trials and hears of them.
        make_task: See `TaskFactory`.
        session: Name of this session.
        cpus: Cores, as threads.
        gpus: GPUs; above 0 trains on the first one.
    """
    device = pick_device(gpus, cpus)
    ledger.begin_alone()  # as each of them is
    while (proposal := ledger.next()) is not None:
        resume = ledger.resume_from(proposal)
        resumed = str(resume) if resume else None
        spec = TrialSpec(proposal.number, proposal.config, proposal.baseline, resumed)
        ledger.started(proposal.number)
        stepper = Stepper(spec, make_task, device)
        _run(ledger, proposal, stepper, f"{session}/{trial_folder(spec.number)}")


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
