"""The interface of trackers, which show a study's state to users while it runs.

`MLflowTracker` (record/mlflow_tracker.py) is the real one; `MemoryTracker` replaces it in tests.
All updates are idempotent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

from datasets.errors import InputError
from record.state import StudyState
from record.trial import Report, Status, Trial

StudyStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


class NotRecorded(InputError):
    """The tracking store did not answer or rejected a write; the call can be repeated."""


class RunDeleted(Exception):
    """The user deleted the run of a trial, which must not be recorded again.

    Attributes:
        number: Number of the trial.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"the run of trial {number} was deleted")
        self.number = number


@dataclass(frozen=True)
class StudyFacts:
    """Facts about a study that a tracker shows.

    Attributes:
        identity: Unique id of the study, which distinguishes studies of the same name.
        question: The question that the study answers.
        params: Definition of the study.
        tags: Facts that may change between sessions, such as the command.
        trial_tags: Tags about the data, for the run of every trial.
        data: Name and digest of the data set.
        space: The searched parameters.
    """

    identity: str
    question: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    trial_tags: Mapping[str, str]
    data: tuple[str, str]
    space: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Shown:
    """A trial as a tracker shows it.

    Attributes:
        status: Status of the trial; None if the tracker has none.
        reports: Epochs of the trial, including duplicates.
    """

    status: Status | None
    reports: tuple[Report, ...]


class Tracker(Protocol):
    """Interface of all trackers.

    Each method raises `NotRecorded` if the store is unavailable.
    """

    def begin(self, facts: StudyFacts) -> None:
        """Creates the study in the tracker, or reopens it; call it before `tell`."""
        ...

    def tell(self, trial: Trial) -> None:
        """Brings the tracker up to date with a trial; a trial that was never placed is not shown.

        Raises:
            RunDeleted: If the user deleted the trial's run in the tracker.
        """
        ...

    def shown(self, number: int) -> Shown | None:
        """Returns a trial as the tracker shows it; None if it does not show it."""
        ...

    def numbers(self) -> set[int]:
        """Returns the numbers of the trials that the tracker shows."""
        ...

    def faults(self, trial: Trial) -> list[str]:
        """Describes each missing or wrong value of a shown trial, in a few words.

        Epochs are not compared. `tell` repairs all of these faults.
        """
        ...

    def doubled(self) -> set[int]:
        """Returns the numbers of the trials that the tracker shows more than once."""
        ...

    def tidy(self) -> None:
        """Removes duplicate runs of trials; `begin` does this too."""
        ...

    def study_status(self) -> str | None:
        """Returns the status of the study in the tracker; None if it is not there."""
        ...

    def deleted(self) -> set[int]:
        """Returns the numbers of the trials whose runs the user deleted."""
        ...

    def forget(self, number: int) -> None:
        """Removes the run of a trial, so that `tell` creates a new one."""
        ...

    def describe(self, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Shows results of the study."""
        ...

    def close(self, status: StudyStatus, tags: Mapping[str, str]) -> None:
        """Shows the status and tags with which the session ended."""
        ...


def sync(tracker: Tracker, state: StudyState) -> set[int]:
    """Brings a tracker up to date with all trials, except those that the user deleted.

    Returns:
        Numbers of the trials that were deleted and that the state does not know as discarded.

    Raises:
        NotRecorded: If the store is unavailable.
    """
    news = tracker.deleted() - state.discarded
    for trial in state.trials():
        if trial.number not in news | state.discarded:
            tracker.tell(trial)
    return news & {trial.number for trial in state.trials()}


@dataclass
class MemoryTracker:
    """An in-memory tracker for tests.

    Attributes:
        facts: Facts about the study; None before `begin`.
        trials: Trial number -> the trial of the last `tell`.
        told: Number of calls.
        tags: Tags of the study.
        metrics: Metrics of the study.
        status: Status of the study; None before `begin`.
        removed: Numbers of the trials that a user deleted.
        doubles: Numbers of the trials that are shown more than once.
        is_away: True to raise `NotRecorded` in every method.
    """

    facts: StudyFacts | None = None
    trials: dict[int, Trial] = field(default_factory=dict)
    told: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    status: StudyStatus | None = None
    removed: set[int] = field(default_factory=set)
    doubles: set[int] = field(default_factory=set)
    is_away: bool = False

    def begin(self, facts: StudyFacts) -> None:
        """Stores the facts and sets the status to ``RUNNING``."""
        self._check()
        self.facts, self.status = facts, "RUNNING"
        self.doubles.clear()
        self.tags.update(facts.tags)

    def tell(self, trial: Trial) -> None:
        """Stores a trial that was placed or has ended."""
        self._check()
        if trial.number in self.removed:
            raise RunDeleted(trial.number)
        if trial.started is not None or not trial.is_open:
            self.trials[trial.number] = trial

    def shown(self, number: int) -> Shown | None:
        """Returns a stored trial's status and epochs; None if it is not stored."""
        self._check()
        trial = self.trials.get(number)
        return None if trial is None else Shown(trial.status, tuple(trial.reports))

    def numbers(self) -> set[int]:
        """Returns the numbers of the stored trials."""
        self._check()
        return set(self.trials)

    def faults(self, trial: Trial) -> list[str]:
        """Returns the names of the fields, except epochs, in which a stored trial differs."""
        self._check()
        shown = self.trials[trial.number]
        names = [each.name for each in fields(Trial) if each.name != "reports"]
        return [name for name in names if getattr(shown, name) != getattr(trial, name)]

    def doubled(self) -> set[int]:
        """Returns the numbers of the trials that are shown more than once."""
        self._check()
        return set(self.doubles)

    def tidy(self) -> None:
        """Removes the duplicates."""
        self._check()
        self.doubles.clear()

    def study_status(self) -> str | None:
        """Returns the status of the study; None before `begin`."""
        self._check()
        return self.status

    def deleted(self) -> set[int]:
        """Returns the numbers of the trials that a user deleted."""
        self._check()
        return set(self.removed)

    def forget(self, number: int) -> None:
        """Removes a stored trial."""
        self._check()
        del self.trials[number]

    def describe(self, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Stores tags and metrics of the study."""
        self._check()
        self.tags.update(tags)
        self.metrics.update(metrics)

    def close(self, status: StudyStatus, tags: Mapping[str, str]) -> None:
        """Stores the final status and tags of the study."""
        self._check()
        self.status = status
        self.tags.update(tags)

    def delete(self, number: int) -> None:
        """Deletes the run of a trial, as a user would."""
        del self.trials[number]
        self.removed.add(number)

    def _check(self) -> None:
        self.told += 1
        if self.is_away:
            raise NotRecorded("the tracking store is away")
