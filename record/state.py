"""The state of a study, which results from applying its events in order.

Only one thread may apply events; any thread may read trials, which are frozen.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from record.events import (
    Discarded,
    Dropped,
    Ended,
    Event,
    Paused,
    Placed,
    Proposed,
    Reported,
    Scored,
    SessionBegan,
    SessionEnded,
)
from record.trial import (
    ENDED,
    OPEN,
    WITH_RESULT,
    Baseline,
    Replicate,
    Report,
    Role,
    Searched,
    Status,
    Trial,
)


class IllegalEvent(ValueError):
    """An event contradicts the events before it."""


class StudyState:
    """Current state of a study.

    Attributes:
        sessions: The start of each session, in order.
        ending: The end of the latest session; None while it is running, or if it was cut off.
        scores: Trial number -> the event of its scoring.
        discarded: Numbers of the trials whose MLflow run the user deleted.
        checkpoints: Trial number -> name of the checkpoint of its last report.
        endings: Numbers of the trials that have ended, in the order of their endings.
    """

    def __init__(self) -> None:
        self.sessions: list[SessionBegan] = []
        self.ending: SessionEnded | None = None
        self.scores: dict[int, Scored] = {}
        self.discarded: set[int] = set()
        self.checkpoints: dict[int, str] = {}
        self.endings: list[int] = []
        self._trials: dict[int, Trial] = {}
        self._by_status: dict[Status, dict[int, None]] = {status: {} for status in (*OPEN, *ENDED)}
        self._by_role: dict[type[Role], list[int]] = {
            kind: [] for kind in (Searched, Baseline, Replicate)
        }
        self._search: list[int] = []
        self._best: int | None = None

    # Queries

    @property
    def session(self) -> SessionBegan:
        """The start of the latest session, which must exist."""
        return self.sessions[-1]

    @property
    def next_number(self) -> int:
        """Number of the next trial to be proposed."""
        return len(self._trials)

    @property
    def next_index(self) -> int:
        """Index, among the search trials, of the next search trial to be proposed."""
        return len(self._search)

    def number(self, index: int) -> int:
        """Returns the number of a search trial, by its index among them; of one to come, the
        number that it has if no other trials come between."""
        known = self.next_index
        return self._search[index] if index < known else self.next_number + index - known

    def trial(self, number: int) -> Trial:
        """Returns a trial in its current state.

        Raises:
            KeyError: If there is no trial of this number.
        """
        return self._trials[number]

    def known(self, number: int) -> Trial | None:
        """Returns a trial in its current state; None if there is no trial of this number."""
        return self._trials.get(number)

    def trials(self) -> tuple[Trial, ...]:
        """Returns all trials, by number."""
        return tuple(self._trials.values())

    def with_status(self, *statuses: Status) -> tuple[Trial, ...]:
        """Returns the trials with these statuses, ordered by status and when they reached it."""
        return tuple(self._trials[n] for each in statuses for n in tuple(self._by_status[each]))

    def count(self, *statuses: Status) -> int:
        """Returns the number of trials with these statuses."""
        return sum(len(self._by_status[status]) for status in statuses)

    def search(self) -> tuple[Trial, ...]:
        """Returns the trials of the search, baselines included, in the order of their proposal."""
        return tuple(self._trials[number] for number in self._search)

    def with_role(self, kind: type[Role]) -> tuple[Trial, ...]:
        """Returns the trials with a kind of role, by number."""
        return tuple(self._trials[number] for number in self._by_role[kind])

    def best(self) -> Trial | None:
        """Returns the finished search trial with the best objective; None if none has finished.

        Of equal trials it is the latest.
        """
        return None if self._best is None else self._trials[self._best]

    def value(self, trial: Trial) -> float | None:
        """Returns the objective after a trial's last epoch; None before its first."""
        return trial.value(self.session.objective)

    def merit(self, report: Report) -> float:
        """Returns the objective of an epoch, negated if minimised, so that more is better."""
        value = report.metrics[self.session.objective]
        return value if self.session.direction == "maximize" else -value

    def standing(self, trial: Trial) -> tuple[float, int]:
        """Returns the key by which finished trials are ranked; the greatest is the best."""
        return self.merit(trial.reports[-1]), trial.number

    # Events

    def apply(self, event: Event) -> None:
        """Updates the state with the next event.

        Raises:
            IllegalEvent: If the event contradicts the state, which is then unchanged.
        """
        APPLY[type(event)](self, event)

    def _session_began(self, event: SessionBegan) -> None:
        for name in ("identity", "objective", "direction"):
            if self.sessions and getattr(event, name) != getattr(self.session, name):
                known = getattr(self.session, name)
                _refuse(f"the study has the {name} {known}, not {getattr(event, name)}")
        self._stop_what_runs()
        self.sessions.append(event)
        self.ending = None

    def _session_ended(self, event: SessionEnded) -> None:
        self._check_session(event)
        if event.session != self.session.session:
            _refuse(f"{self.session.session} runs, and not {event.session}, which ends")
        self._stop_what_runs()
        self.ending = event

    def _stop_what_runs(self) -> None:
        for trial in self.with_status("running"):
            self._put(replace(trial, status="stopped"))

    def _proposed(self, event: Proposed) -> None:
        self._check_session(event)
        if event.number != self.next_number:
            known = " already" if event.number in self._trials else ""
            _refuse(f"trial {event.number} is proposed{known}: expected {self.next_number}")
        match event.role:
            case Searched(index) | Baseline(index):
                if index != self.next_index:
                    _refuse(f"trial {event.number} has index {index}: expected {self.next_index}")
                self._search.append(event.number)
            case Replicate(of, _) if of not in self._trials:
                _refuse(f"trial {event.number} replicates trial {of}, which is not known")
        self._by_role[type(event.role)].append(event.number)
        self._put(
            Trial(
                event.number,
                event.config,
                event.drawn,
                event.role,
                inactive=event.inactive,
                title=event.title,
            )
        )

    def _placed(self, event: Placed) -> None:
        trial = self._standing(event, OPEN)
        self._put(
            replace(
                trial,
                status="running",
                reason="",
                placements=(*trial.placements, event.placement),
                started=trial.started or event.at,
            )
        )

    def _reported(self, event: Reported) -> None:
        trial = self._standing(event, ("running",))
        self._trials[event.number] = trial.with_reports(_joined(trial, event.reports))
        if event.checkpoint:
            self.checkpoints[event.number] = event.checkpoint

    def _paused(self, event: Paused) -> None:
        trial = self._standing(event, ("running",))
        self._put(replace(trial, status="paused", reason=event.reason))

    def _ended(self, event: Ended) -> None:
        trial = self._standing(event, OPEN)
        if event.status not in ENDED:
            _refuse(f"trial {event.number} cannot end as {event.status}")
        ended = replace(
            trial,
            status=event.status,
            reason=event.reason,
            reports=_joined(trial, event.reports),
            ended=event.at,
            output=event.output,
        )
        if event.status in WITH_RESULT and self.value(ended) is None:
            _refuse(f"trial {event.number} is {event.status} without {self.session.objective}")
        self._put(ended)
        self.endings.append(event.number)
        self._compare(ended)

    def _compare(self, trial: Trial) -> None:
        if trial.status == "finished" and isinstance(trial.role, Searched | Baseline):
            best = self.best()
            if best is None or self.standing(trial) > self.standing(best):
                self._best = trial.number

    def _dropped(self, event: Dropped) -> None:
        trial = self._standing(event, ("finished",))
        if isinstance(trial.role, Replicate):
            _refuse(f"trial {event.number}, which was dropped, is no finalist but a final of one")
        if trial.dropped:
            _refuse(f"trial {event.number} is dropped already")
        self._trials[event.number] = replace(trial, dropped=event.reason)

    def _scored(self, event: Scored) -> None:
        self._standing(event, ("finished",))
        if event.number in self.scores:
            _refuse(f"trial {event.number} is scored already")
        self.scores[event.number] = event

    def _discarded(self, event: Discarded) -> None:
        if event.number not in self._trials:
            _refuse(f"trial {event.number}, which was discarded, is not known")
        if event.number in self.discarded:
            _refuse(f"trial {event.number} is discarded already")
        self.discarded.add(event.number)

    def _check_session(self, event: Event) -> None:
        if not self.sessions or self.ending is not None:
            _refuse(f"{type(event).__name__} outside of a session")

    def _standing(
        self,
        event: Placed | Reported | Paused | Ended | Dropped | Scored,
        statuses: Sequence[Status],
    ) -> Trial:
        """Returns the trial of an event.

        Raises:
            IllegalEvent: If there is no such trial, its status is not one of these, or no session
                is running.
        """
        self._check_session(event)
        trial = self._trials.get(event.number)
        if trial is None:
            _refuse(f"{type(event).__name__} of trial {event.number}, which was not proposed")
        if trial.status not in statuses:
            _refuse(f"{type(event).__name__} of trial {event.number}, which is {trial.status}")
        return trial

    def _put(self, trial: Trial) -> None:
        known = self._trials.get(trial.number)
        if known is not None:
            del self._by_status[known.status][trial.number]
        self._by_status[trial.status][trial.number] = None
        self._trials[trial.number] = trial


def _joined(trial: Trial, reports: Sequence[Report]) -> Sequence[Report]:
    """Appends reports to a trial's epochs.

    If the first of them was reported before, it and all later epochs are replaced, because the
    trial resumed from an earlier checkpoint.

    Raises:
        IllegalEvent: If the epochs are not consecutive, or leave a gap.
    """
    if not reports:
        return trial.reports
    first = reports[0].epoch
    if not 1 <= first <= trial.epoch + 1:
        _refuse(f"trial {trial.number} reports epoch {first} after epoch {trial.epoch}")
    for place, report in enumerate(reports):
        if report.epoch != first + place:
            _refuse(f"trial {trial.number} reports epoch {report.epoch} out of order")
    return (*trial.reports[: first - 1], *reports)


def _refuse(why: str) -> NoReturn:
    raise IllegalEvent(why)


APPLY: Mapping[type[Event], Callable[[StudyState, Any], None]] = {
    SessionBegan: StudyState._session_began,
    SessionEnded: StudyState._session_ended,
    Proposed: StudyState._proposed,
    Placed: StudyState._placed,
    Reported: StudyState._reported,
    Paused: StudyState._paused,
    Ended: StudyState._ended,
    Dropped: StudyState._dropped,
    Scored: StudyState._scored,
    Discarded: StudyState._discarded,
}


def fold(events: Iterable[Event]) -> StudyState:
    """Returns the state that results from these events.

    Raises:
        IllegalEvent: If an event contradicts those before it.
    """
    state = StudyState()
    for event in events:
        state.apply(event)
    return state
