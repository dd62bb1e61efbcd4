"""What a study has come to: the sum of its events.

One thread applies events; any other may ask for trials, which are frozen.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from record.events import (
    Discarded,
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
    """An event that cannot follow what happened before it."""


class StudyState:
    """A study as far as it is known.

    Attributes:
        sessions: How each session began, the first one first.
        ending: How the latest session ended; None while it runs, or where it was cut off.
        scores: Number of a trial -> how it was scored.
        discarded: Numbers of the trials whose runs the user deleted in MLflow.
        checkpoints: Number of a trial -> name of the checkpoint that its last report named.
        endings: Numbers of the trials that have ended, in that order.
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

    # What is asked of it

    @property
    def session(self) -> SessionBegan:
        """The latest session, which there has to be."""
        return self.sessions[-1]

    @property
    def next_number(self) -> int:
        """The number of the trial that is proposed next."""
        return len(self._trials)

    @property
    def next_index(self) -> int:
        """The place in the search of the trial that is proposed next for it."""
        return len(self._search)

    def trial(self, number: int) -> Trial:
        """A trial as it stands.

        Raises:
            KeyError: If there is none of this number.
        """
        return self._trials[number]

    def known(self, number: int) -> Trial | None:
        """A trial as it stands; None if there is none of this number."""
        return self._trials.get(number)

    def trials(self) -> tuple[Trial, ...]:
        """All of them, by number."""
        return tuple(self._trials.values())

    def with_status(self, *statuses: Status) -> tuple[Trial, ...]:
        """Those that stand so, each status in the order in which its trials came to it."""
        return tuple(self._trials[n] for each in statuses for n in tuple(self._by_status[each]))

    def count(self, *statuses: Status) -> int:
        """How many stand so."""
        return sum(len(self._by_status[status]) for status in statuses)

    def search(self) -> tuple[Trial, ...]:
        """The trials of the search, baselines included, in the order of their proposal."""
        return tuple(self._trials[number] for number in self._search)

    def with_role(self, kind: type[Role]) -> tuple[Trial, ...]:
        """Those that are there for one thing, by number."""
        return tuple(self._trials[number] for number in self._by_role[kind])

    def best(self) -> Trial | None:
        """The finished trial of the search with the best objective, of equal ones the latest; None
        while none has finished."""
        return None if self._best is None else self._trials[self._best]

    def value(self, trial: Trial) -> float | None:
        """The objective after a trial's last epoch; None before the first."""
        return trial.value(self.session.objective)

    def merit(self, report: Report) -> float:
        """The objective after an epoch, turned so that more is better."""
        value = report.metrics[self.session.objective]
        return value if self.session.direction == "maximize" else -value

    def standing(self, trial: Trial) -> tuple[float, int]:
        """What finished trials are compared by: the greatest is the best."""
        return self.merit(trial.reports[-1]), trial.number

    # What happens

    def apply(self, event: Event) -> None:
        """Takes in what happened next.

        Raises:
            IllegalEvent: If it cannot have; the state is then as before.
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
        event: Placed | Reported | Paused | Ended | Scored,
        statuses: Sequence[Status],
    ) -> Trial:
        """The trial of an event, which has to stand in one of these ways."""
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
    """A trial's epochs with more of them: one that was known before is replaced, with all that
    followed it, since the trial went on from before it."""
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
    Scored: StudyState._scored,
    Discarded: StudyState._discarded,
}


def fold(events: Iterable[Event]) -> StudyState:
    """The state after all of these events.

    Raises:
        IllegalEvent: If they cannot have happened so.
    """
    state = StudyState()
    for event in events:
        state.apply(event)
    return state
