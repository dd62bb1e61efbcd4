"""Whether a study that nobody runs has the checkpoints that it is to keep, and no others.

What is gone cannot be brought back; what is too much is removed. An open trial goes on from the
newest whole checkpoint, or begins anew: it may have any number of them.
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
    """Looks at the checkpoints of all trials; changes nothing.

    Args:
        state: The study.
        checkpoints: Of the study.

    Raises:
        OSError: If one cannot be read.
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
    """Removes the checkpoints that are too much.

    Args:
        state: The study.
        checkpoints: Of the study.
        findings: What `check` found, with others or without.

    Raises:
        OSError: If one cannot be read.
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
    """Trials that are to keep a checkpoint."""
    session = state.session
    return retained(state, session.spec[names.GROUP_BY], int(session.settings[names.KEEP]))


def _promised(state: StudyState) -> set[int]:
    """Trials that were to keep one at all times: an earlier session may have kept fewer."""
    count = min(int(session.settings[names.KEEP]) for session in state.sessions)
    return retained(state, state.session.spec[names.GROUP_BY], count)


def _of_kept(trial: Trial, checkpoints: Checkpoints) -> Iterator[Finding]:
    """What is wrong with the last checkpoint of a trial that keeps it."""
    folder = checkpoints.latest(trial.number)
    state = checkpoint.read(folder) if folder is not None else None
    if state is None:
        yield Finding(trial.number, "the checkpoint that is kept of it is gone or damaged", "lost")
    elif state["epoch"] != trial.epoch:
        what = f"its checkpoint is of epoch {state['epoch']}, and it did {trial.epoch}"
        yield Finding(trial.number, what, "lost")
