"""Checks that a study that is not running has the checkpoints it should retain, and no others.

Lost checkpoints cannot be restored; surplus ones can be removed. An open trial may have any number
of checkpoints: it resumes from the newest intact one, or starts over.
"""

from collections.abc import Iterator, Sequence

from engine.agreement import Finding
from engine.checkpoints import Checkpoints
from engine.retention import retained
from record import names
from record.state import StudyState
from record.trial import Trial
from trainables import checkpoint


def check(state: StudyState, checkpoints: Checkpoints) -> Iterator[Finding]:
    """Yields a finding for each lost, damaged or surplus checkpoint of a study; changes nothing.

    Args:
        state: The state of the study.
        checkpoints: The study's checkpoints.

    Raises:
        OSError: If a checkpoint cannot be read.
    """
    staying, promised = _staying(state), _promised(state)
    for trial in state.trials():
        folders = checkpoints.of_trial(trial.number)
        if trial.is_open:
            damaged = [checkpoints.name(f) for f in folders if not checkpoint.is_whole(f)]
            for name in damaged:
                yield Finding(trial.number, f"its checkpoint {name} is damaged", "trim")
            continue
        if trial.number in promised:
            yield from _of_kept(trial, checkpoints)
        count = int(trial.number in staying)
        if len(folders) > count:
            what = f"{len(folders)} checkpoints are left of it, {count} is to be kept"
            yield Finding(trial.number, what, "trim")


def trim(state: StudyState, checkpoints: Checkpoints, findings: Sequence[Finding]) -> None:
    """Removes damaged checkpoints of open trials and surplus ones of the others.

    Args:
        state: The state of the study.
        checkpoints: The study's checkpoints.
        findings: The findings of `check`; those with another remedy are ignored.

    Raises:
        OSError: If a checkpoint cannot be read.
    """
    staying = _staying(state)
    too_much = {each.trial for each in findings if each.remedy == "trim"}
    for number in sorted(number for number in too_much if number is not None):
        if state.trial(number).is_open:
            for folder in checkpoints.of_trial(number):
                if not checkpoint.is_whole(folder):
                    checkpoints.remove(number, folder)
        else:
            checkpoints.keep(number, int(number in staying))


def _staying(state: StudyState) -> set[int]:
    """Returns the numbers of the trials that should retain a checkpoint."""
    session = state.session
    return retained(state, session.spec[names.GROUP_BY], int(session.settings[names.KEEP]))


def _promised(state: StudyState) -> set[int]:
    """Returns the trials whose checkpoint every session retained: an earlier session may have
    kept fewer, and a checkpoint that it removed is not lost."""
    count = min(int(session.settings[names.KEEP]) for session in state.sessions)
    return retained(state, state.session.spec[names.GROUP_BY], count)


def _of_kept(trial: Trial, checkpoints: Checkpoints) -> Iterator[Finding]:
    """Yields what is wrong with the last checkpoint of a trial that should retain one."""
    folder = checkpoints.latest(trial.number)
    state = checkpoint.read(folder) if folder is not None else None
    if state is None:
        yield Finding(trial.number, "the checkpoint that is kept of it is gone or damaged", "lost")
    elif state["epoch"] != trial.epoch:
        what = f"its checkpoint is of epoch {state['epoch']}, and it did {trial.epoch}"
        yield Finding(trial.number, what, "lost")
