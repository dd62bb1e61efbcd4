"""Whether MLflow shows what the log says of a study that nobody runs: trial by trial, epoch by
epoch.

The log is the truth, so there is one way to repair: MLflow is told again. A run that holds what
the log does not say is put away among MLflow's deleted ones, never destroyed. A run that the user
deleted by hand is none that is missing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from record.events import SessionEnded
from record.state import StudyState
from record.tracker import Shown, Tracker, sync
from record.trial import Report, Trial

Remedy = Literal["begin", "close", "tell", "renew", "single", "remove", "trim", "lost"]

CURES: Mapping[Remedy, str] = {
    "begin": "the study's own command records it anew",
    "close": "end it there as the log says",
    "tell": "tell MLflow what the log says",
    "renew": "move the run to MLflow's deleted ones and record it anew from the log",
    "single": "move the other one to MLflow's deleted ones",
    "remove": "move the run to MLflow's deleted ones",
    "trim": "remove what is too much",
    "lost": "there is no other; analyses that need its weights pass it over",
}
"""Remedy -> what it does, for the user; for ``trim`` see `studies.retention_check`."""

BY_OTHERS: tuple[Remedy, ...] = ("begin", "lost")
"""Remedies that no repair can do."""

DELETED, UNKNOWN = "deleted by hand", "not said"
"""How MLflow shows a trial whose run the user deleted, and one whose run lacks the tag."""


@dataclass(frozen=True)
class Finding:
    """Something that MLflow shows otherwise than the log has it.

    Attributes:
        trial: Number of the trial; None: the study as a whole.
        what: What is wrong.
        remedy: What cures it.
    """

    trial: int | None
    what: str
    remedy: Remedy

    @property
    def is_repairable(self) -> bool:
        """Whether a repair cures it."""
        return self.remedy not in BY_OTHERS

    def __str__(self) -> str:
        where = "the study" if self.trial is None else f"trial {self.trial}"
        return f"{where}: {self.what}; to repair: {CURES[self.remedy]}"


@dataclass(frozen=True)
class Agreement:
    """What a comparison of the log with MLflow came to.

    Attributes:
        log: Status -> how many trials stand so by the log.
        mlflow: Status -> how many are shown so in MLflow, with `DELETED` and `UNKNOWN`.
        findings: What does not agree.
    """

    log: Mapping[str, int]
    mlflow: Mapping[str, int]
    findings: tuple[Finding, ...]


def at_rest(state: StudyState) -> StudyState:
    """Takes a session without an end for one that was cut off, which it is where nobody runs the
    study; returns the state."""
    if state.sessions and state.ending is None:
        session = state.session
        state.apply(SessionEnded(session.session, "KILLED", "it was cut off", session.at))
    return state


def compare(tracker: Tracker, state: StudyState) -> Agreement:
    """Compares everything that is shown; changes nothing.

    Args:
        tracker: Where the study is shown, opened anew.
        state: The study, `at_rest`.

    Raises:
        NotRecorded: If the tracking store is away.
    """
    deleted = tracker.deleted() | state.discarded
    shown = {number: tracker.shown(number) for number in sorted(tracker.numbers() - deleted)}
    found = [*_of_study(tracker, state)]
    if all(each.is_repairable for each in found):
        for trial in state.trials():
            if trial.number not in deleted:
                found += _of_trial(tracker, trial, shown.get(trial.number))
        found += _of_nobody(shown.keys() - {trial.number for trial in state.trials()})
    in_log = Counter(trial.status for trial in state.trials())
    there = (_counted(trial, shown, deleted) for trial in state.trials())
    return Agreement(in_log, Counter(filter(None, there)), tuple(found))


def repair(tracker: Tracker, state: StudyState, findings: Sequence[Finding]) -> None:
    """Makes MLflow show what the log says, as far as it can from the log alone.

    Args:
        tracker: Where the study is shown.
        state: The study, `at_rest`.
        findings: What `compare` found there.

    Raises:
        NotRecorded: If the tracking store is away; the next repair goes on from there.
    """
    remedies = {each.remedy for each in findings}
    if not remedies or "begin" in remedies:
        return
    tracker.tidy()
    put_away = {each.trial for each in findings if each.remedy in ("renew", "remove")}
    for number in sorted(tracker.numbers() & put_away):
        tracker.forget(number)
    sync(tracker, state)
    if "close" in remedies:
        assert state.ending is not None
        tracker.close(state.ending.status, {})


def _counted(trial: Trial, shown: Mapping[int, Shown | None], deleted: set[int]) -> str | None:
    """How MLflow shows a trial; None where it does not, and should."""
    if trial.number in deleted:
        return DELETED
    there = shown.get(trial.number)
    if there is not None:
        return there.status or UNKNOWN
    return trial.status if _is_unseen(trial) else None


def _is_unseen(trial: Trial) -> bool:
    """Whether there is nothing to show of a trial yet."""
    return trial.started is None and trial.is_open


def _of_study(tracker: Tracker, state: StudyState) -> Iterator[Finding]:
    """What is wrong with the study's own run."""
    assert state.ending is not None
    expected, there = state.ending.status, tracker.study_status()
    if there is None:
        yield Finding(None, "MLflow has no run of it", "begin")
    elif there == "RUNNING":
        yield Finding(None, "its own run is RUNNING, and nobody is running it", "close")
    elif there != expected:
        yield Finding(None, f"its own run is {there}, in the log {expected}", "close")


def _of_nobody(numbers: set[int]) -> Iterator[Finding]:
    for number in sorted(numbers):
        yield Finding(number, "MLflow has a run of it, the log does not know it", "remove")


def _of_trial(tracker: Tracker, trial: Trial, shown: Shown | None) -> Iterator[Finding]:
    """What is wrong with a trial whose run the user did not delete."""
    number = trial.number
    if shown is None:
        if not _is_unseen(trial):
            yield Finding(number, "MLflow has no run of it", "tell")
        return
    if _is_unseen(trial):
        yield Finding(number, "MLflow has a run of it, in the log it has not begun", "remove")
        return
    if number in tracker.doubled():
        yield Finding(number, "MLflow has another run of it", "single")
    wrong = "; ".join(_wrong_epochs(trial.reports, shown.reports))
    if wrong:
        is_prefix = shown.reports == tuple(trial.reports[: len(shown.reports)])
        yield Finding(number, wrong, "tell" if is_prefix else "renew")
    for fault in tracker.faults(trial):
        yield Finding(number, fault, "tell")


def _wrong_epochs(known: Sequence[Report], shown: Sequence[Report]) -> Iterator[str]:
    """What is wrong with the epochs of a trial, in words.

    Args:
        known: By the log.
        shown: In MLflow.
    """
    in_log, there = {each.epoch: each for each in known}, Counter(each.epoch for each in shown)
    twice = sorted(epoch for epoch in there if there[epoch] > 1)
    beyond = sorted(there.keys() - in_log.keys())
    missing = sorted(in_log.keys() - there.keys())
    if twice:
        yield f"MLflow has epochs {twice} twice"
    if beyond:
        yield f"MLflow has epochs {beyond}, the log does not"
    if missing:
        yield f"MLflow lacks epochs {missing} of {len(known)}"
    for each in shown:
        if there[each.epoch] == 1 and each.epoch in in_log and each != in_log[each.epoch]:
            yield _difference(in_log[each.epoch], each)
            return


def _difference(known: Report, shown: Report) -> str:
    """The first thing that an epoch has otherwise in MLflow than in the log."""
    expected, found = _numbers(known), _numbers(shown)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            other = f"{_told(found.get(name))} in MLflow, {_told(expected.get(name))} in the log"
            return f"{name} of epoch {known.epoch} is {other}"
    raise AssertionError(f"epoch {known.epoch} is the same in both")


def _numbers(report: Report) -> dict[str, float]:
    return {**report.metrics, "memory_gib": report.memory_gib, "time in ms": report.unix_ms}


def _told(number: float | None) -> str:
    return "missing" if number is None else repr(number)
