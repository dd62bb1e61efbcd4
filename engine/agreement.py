"""Compares MLflow with the log of a study that is not running, by trial and epoch; repairs MLflow.

The log is the source of truth, so a repair always writes to MLflow from the log. An MLflow run
with content that the log lacks is moved to MLflow's deleted runs, never destroyed. A run that the
user deleted by hand does not count as missing.
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
"""Remedy -> its description for the user. Only `studies.retention_check` uses ``trim``."""

BY_OTHERS: tuple[Remedy, ...] = ("begin", "lost")
"""Remedies that `repair` cannot apply."""

DELETED, UNKNOWN = "deleted by hand", "not said"
"""Status counted for a trial whose MLflow run the user deleted, or whose run has no status tag."""


@dataclass(frozen=True)
class Finding:
    """One difference between MLflow and the log.

    Attributes:
        trial: Number of the trial; None if the finding concerns the study's own run.
        what: Description of the difference.
        remedy: Remedy that resolves it, a key of `CURES`.
    """

    trial: int | None
    what: str
    remedy: Remedy

    @property
    def is_repairable(self) -> bool:
        """True if `repair` can resolve the finding."""
        return self.remedy not in BY_OTHERS

    def __str__(self) -> str:
        where = "the study" if self.trial is None else f"trial {self.trial}"
        return f"{where}: {self.what}; to repair: {CURES[self.remedy]}"


@dataclass(frozen=True)
class Agreement:
    """Result of comparing the log with MLflow.

    Attributes:
        log: Number of trials by their status in the log.
        mlflow: Number of trials by their status in MLflow, which includes `DELETED` and `UNKNOWN`.
        findings: The differences that were found.
    """

    log: Mapping[str, int]
    mlflow: Mapping[str, int]
    findings: tuple[Finding, ...]


def at_rest(state: StudyState) -> StudyState:
    """Closes an open session in the state as killed, and returns the state.

    If nobody is running the study, a session without an end was cut off.
    """
    if state.sessions and state.ending is None:
        session = state.session
        state.apply(SessionEnded(session.session, "KILLED", "it was cut off", session.at))
    return state


def compare(tracker: Tracker, state: StudyState) -> Agreement:
    """Compares all of the study's MLflow runs with the log; changes nothing.

    Args:
        tracker: The study's MLflow tracker, freshly opened.
        state: The study's state, after `at_rest`.

    Raises:
        NotRecorded: If the tracking store is unavailable.
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
    """Updates MLflow to match the log, as far as the log alone allows.

    Args:
        tracker: The study's MLflow tracker.
        state: The study's state, after `at_rest`.
        findings: The findings of `compare` for this tracker.

    Raises:
        NotRecorded: If the tracking store is unavailable; the next repair continues from there.
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
    """Returns the status that MLflow shows for a trial; None if its run is missing."""
    if trial.number in deleted:
        return DELETED
    there = shown.get(trial.number)
    if there is not None:
        return there.status or UNKNOWN
    return trial.status if _is_unseen(trial) else None


def _is_unseen(trial: Trial) -> bool:
    """Returns True if the trial has not started, so that MLflow should have no run of it."""
    return trial.started is None and trial.is_open


def _of_study(tracker: Tracker, state: StudyState) -> Iterator[Finding]:
    """Yields the differences of the study's own MLflow run."""
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
    """Yields the differences of a trial whose MLflow run the user did not delete."""
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
    """Yields a description of each way in which a trial's epochs in MLflow differ from the log.

    Args:
        known: The epochs in the log.
        shown: The epochs in MLflow.
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
    """Describes the first value, by name, in which an epoch differs between MLflow and the log."""
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
