"""Where a study is shown while it runs: a projection of its state, told as often as one likes.

`MLflowTracker` (record/mlflow_tracker.py) is the one that users look at, `MemoryTracker` stands
for it in tests. What a tracker is told twice, it holds once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

from datasets.errors import InputError
from record.state import StudyState
from record.trial import Report, Status, Trial

StudyStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


class NotRecorded(InputError):
    """The tracking store did not answer, or did not take it; nothing is lost by trying again."""


class RunDeleted(Exception):
    """The user deleted the run of a trial, which is not to be recorded again.

    Attributes:
        number: The trial's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"the run of trial {number} was deleted")
        self.number = number


@dataclass(frozen=True)
class StudyFacts:
    """What a tracker is to show of a study itself.

    Attributes:
        identity: Tells it from another one of the same name.
        question: What it asks.
        params: What it is.
        tags: What may change from session to session, such as the command.
        trial_tags: What to say of the data with every trial.
        data: Name and digest of the data set.
        space: What is searched.
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
    """What a tracker shows of a trial.

    Attributes:
        status: How it stands; None: what is shown does not say.
        reports: Its epochs; of one that is there twice, both.
    """

    status: Status | None
    reports: tuple[Report, ...]


class Tracker(Protocol):
    """What all trackers can do. Each method raises `NotRecorded` where the store is away."""

    def begin(self, facts: StudyFacts) -> None:
        """Begins to show a study, or goes on with it; before any trial of it."""
        ...

    def tell(self, trial: Trial) -> None:
        """Shows a trial as it stands; one that was never placed is not shown yet.

        Raises:
            RunDeleted: If the user deleted it there.
        """
        ...

    def shown(self, number: int) -> Shown | None:
        """A trial as it is shown; None if it is not."""
        ...

    def numbers(self) -> set[int]:
        """Numbers of the trials that are shown."""
        ...

    def faults(self, trial: Trial) -> list[str]:
        """What a trial that is shown is shown without, or otherwise than it stands, each in a few
        words; its epochs apart. `tell` repairs all of it."""
        ...

    def doubled(self) -> set[int]:
        """Numbers of the trials that are shown more than once."""
        ...

    def tidy(self) -> None:
        """Has every trial shown once at most, as `begin` does."""
        ...

    def study_status(self) -> str | None:
        """How the study is shown to stand; None: it is not shown."""
        ...

    def deleted(self) -> set[int]:
        """Numbers of the trials whose runs the user deleted."""
        ...

    def forget(self, number: int) -> None:
        """Puts the run of a trial away, so that the trial is shown anew when it is told."""
        ...

    def describe(self, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Shows what the study has come to."""
        ...

    def close(self, status: StudyStatus, tags: Mapping[str, str]) -> None:
        """Shows how the session ended."""
        ...


def sync(tracker: Tracker, state: StudyState) -> set[int]:
    """Shows every trial as it stands, but those that the user deleted.

    Returns:
        Numbers of those that were deleted since the state last heard of it.

    Raises:
        NotRecorded: If the store is away.
    """
    news = tracker.deleted() - state.discarded
    for trial in state.trials():
        if trial.number not in news | state.discarded:
            tracker.tell(trial)
    return news & {trial.number for trial in state.trials()}


@dataclass
class MemoryTracker:
    """A tracker for tests.

    Attributes:
        facts: Of the study; None before it is begun.
        trials: Number -> the trial as it was told last.
        told: How often anything was told.
        tags: What the study has come to.
        metrics: The same, in numbers.
        status: How the study stands.
        removed: Numbers of the trials that a user deleted.
        doubles: Numbers of the trials that are there more than once.
        is_away: Whether it refuses everything.
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
        """See `Tracker`."""
        self._check()
        self.facts, self.status = facts, "RUNNING"
        self.doubles.clear()
        self.tags.update(facts.tags)

    def tell(self, trial: Trial) -> None:
        """See `Tracker`."""
        self._check()
        if trial.number in self.removed:
            raise RunDeleted(trial.number)
        if trial.started is not None or not trial.is_open:
            self.trials[trial.number] = trial

    def shown(self, number: int) -> Shown | None:
        """See `Tracker`."""
        self._check()
        trial = self.trials.get(number)
        return None if trial is None else Shown(trial.status, tuple(trial.reports))

    def numbers(self) -> set[int]:
        """See `Tracker`."""
        self._check()
        return set(self.trials)

    def faults(self, trial: Trial) -> list[str]:
        """See `Tracker`."""
        self._check()
        shown = self.trials[trial.number]
        names = [each.name for each in fields(Trial) if each.name != "reports"]
        return [name for name in names if getattr(shown, name) != getattr(trial, name)]

    def doubled(self) -> set[int]:
        """See `Tracker`."""
        self._check()
        return set(self.doubles)

    def tidy(self) -> None:
        """See `Tracker`."""
        self._check()
        self.doubles.clear()

    def study_status(self) -> str | None:
        """See `Tracker`."""
        self._check()
        return self.status

    def deleted(self) -> set[int]:
        """See `Tracker`."""
        self._check()
        return set(self.removed)

    def forget(self, number: int) -> None:
        """See `Tracker`."""
        self._check()
        del self.trials[number]

    def describe(self, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._check()
        self.tags.update(tags)
        self.metrics.update(metrics)

    def close(self, status: StudyStatus, tags: Mapping[str, str]) -> None:
        """See `Tracker`."""
        self._check()
        self.status = status
        self.tags.update(tags)

    def delete(self, number: int) -> None:
        """Deletes the run of a trial, as a user does."""
        del self.trials[number]
        self.removed.add(number)

    def _check(self) -> None:
        self.told += 1
        if self.is_away:
            raise NotRecorded("the tracking store is away")
