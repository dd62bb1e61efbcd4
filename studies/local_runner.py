"""Runs trials one after the other in this process, without Ray: for a debugger.

The same fits, records and checkpoints as on Ray; no trial is stopped early.
"""

import shutil
from pathlib import Path

from studies.ledger import Ledger
from studies.search import Proposal
from trainables import checkpoint
from trainables.device import pick_device
from trainables.stepper import Stepper, TaskFactory, TrialSpec


def run_trials(
    ledger: Ledger, make_task: TaskFactory, sessions: Path, session: str, cpus: int, gpus: float
) -> None:
    """Runs trials until the ledger has none left or its time is up.

    Args:
        ledger: Gives the trials and hears of them.
        make_task: See `TaskFactory`.
        sessions: Folder of all sessions' checkpoints.
        session: Name of this one.
        cpus: Cores, as threads.
        gpus: GPUs; above 0 trains on the first one.
    """
    device = pick_device(gpus, cpus)
    while (proposal := ledger.next()) is not None:
        ledger.started(proposal)
        resume = checkpoint.latest(sessions, proposal.number)
        spec = TrialSpec(proposal.number, proposal.config, proposal.baseline, resume)
        stepper = Stepper(spec, make_task, device)
        _run(ledger, proposal, stepper, sessions / session / checkpoint.trial_folder(spec.number))


def _run(ledger: Ledger, proposal: Proposal, stepper: Stepper, folder: Path) -> None:
    while not ledger.out_of_time():
        result = stepper.step()
        if "failure" in result:
            ledger.failed(proposal.number, result["failure"])
            return
        ledger.epoch(proposal.number, result)
        _save(stepper, folder, result["epoch"])
        if result["done"]:
            ledger.ended(proposal.number)
            return


def _save(stepper: Stepper, folder: Path, epoch: int) -> None:
    target = folder / f"checkpoint_{epoch:06d}"
    target.mkdir(parents=True)
    stepper.save(target)
    for old in sorted(folder.glob("checkpoint_*"))[: -checkpoint.KEPT]:
        shutil.rmtree(old)
