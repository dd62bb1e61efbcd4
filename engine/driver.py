"""The trials of one session: what runs next, and what becomes of each.

Both backends, Ray's and the one in this process, drive this object and nothing else. An epoch
counts once a checkpoint holds it. What ends a trial is in the log before anything follows from it
but the next proposal, which is in the same group.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, Protocol

from upath import UPath

from datasets.errors import described
from engine.agenda import Agenda
from engine.attempt import Attempt, begun
from engine.budgets import Stop
from engine.checkpoints import Checkpoints
from engine.early_stopping import Halving
from engine.history import CutShort, History
from engine.provenance import Code
from engine.results import placement_of, report_of
from record.events import Ended, Event, Paused, Placed, Proposed, Reported
from record.trial import Report, Status, Trial
from record.values import plain
from trainables import checkpoint
from trainables.message import Message, Row
from trainables.trial_spec import TrialSpec, trial_folder

LONGEST_OUTPUT = 4_000
"""Characters, counted from its end, of what a process wrote."""

MESSAGES_A_SECOND = 10
"""Messages of all trials together, at most: each costs the driver some 20 ms, and more with many
trials at once. Epochs that are faster are reported several at a time."""

SESSION_ENDS = "the session ends"


class Nothing(Enum):
    """There is no trial to run."""

    WAIT = "one that is under way may have to be run again"
    DONE = "none is left"


class Verdict(Enum):
    """What is to become of a trial that reported."""

    GO_ON = "it goes on"
    STOP = "it is over, for this session at least"


class Observer(Protocol):
    """Hears of each change of a trial once it is in the log, in the main thread."""

    def changed(self, trial: Trial) -> None:
        """A trial was placed, did epochs, was paused, or ended.

        Raises:
            OSError: If something is wrong with the machine; it ends the session.
        """
        ...


class Driver:
    """The trials of one session, or of one part of it. Used by the main thread alone.

    Args:
        history: Of the study, in a session.
        agenda: What is to be run.
        checkpoints: Of the study.
        code: What they are trained with.
        observers: Told of every change, in this order.
        halving: Which of them are stopped early; None: none is.
        max_failures: Times that one goes on from its checkpoint after its process died.
        notify: Where to say what the user should know at once.

    Attributes:
        live: Number -> a trial that runs or waits for its place.
        attempts: Number -> how often this session began the trial anew.
        worker_failures: Number -> how often its process died.
    """

    def __init__(
        self,
        history: History,
        agenda: Agenda,
        checkpoints: Checkpoints,
        code: Code,
        observers: Sequence[Observer] = (),
        halving: Halving | None = None,
        max_failures: int = 0,
        notify: Callable[[str], None] = print,
    ) -> None:
        self.history = history
        self.state = history.state
        self.agenda = agenda
        self.checkpoints = checkpoints
        self.code = code
        self.observers = observers
        self.halving = halving
        self.max_failures = max_failures
        self.notify = notify
        self.live: dict[int, Attempt] = {}
        self.attempts: Counter[int] = Counter()
        self.worker_failures: Counter[int] = Counter()

    # What to run

    def next(self) -> Trial | Nothing:
        """A trial to run: first those that were begun before, then new ones."""
        if self.agenda.should_stop():
            return Nothing.DONE
        self._propose()
        if self.agenda.should_stop():  # the log may not have taken the proposal
            return Nothing.DONE
        number = self.agenda.take()
        if number is not None:
            return self.state.trial(number)
        return Nothing.WAIT if self.live else Nothing.DONE

    def begin(self, trial: Trial, at_once: int = 0) -> TrialSpec:
        """What the process of a trial is to know; the trial is under way from now on.

        Args:
            trial: Which one.
            at_once: How many there are room for; 0: it reports after each epoch.

        Raises:
            OSError: If a checkpoint cannot be read.
        """
        number = trial.number
        if number in self.attempts:
            self.checkpoints.look_again(number)
        resume, rows = self._newest(trial)
        name = self.checkpoints.name(resume) if resume else ""
        now = self.history.appender.clock()
        self.live[number] = begun(trial, tuple(map(report_of, rows)), name, now)
        session = self.checkpoints.root / self.state.session.session
        return TrialSpec(
            number,
            self.agenda.proposer.space.config(**trial.config),
            folder=str(session / trial_folder(number, self.attempts[number])),
            resume=str(resume) if resume else None,
            rungs=self.halving.rungs if self.halving else (),
            report_every=at_once / MESSAGES_A_SECOND,
            role=trial.role,
        )

    def _newest(self, trial: Trial) -> tuple[UPath | None, Sequence[Row]]:
        """The newest whole checkpoint of a trial, and the epochs that it holds."""
        for folder in self.checkpoints.of_trial(trial.number):
            state = checkpoint.read(folder)
            if state is None:
                why = "is damaged or cut off"
            elif plain(state["config"]) != trial.config:
                why = "is of another configuration, as if an older log had been put back"
            else:
                return folder, state["history"]
            name = self.checkpoints.name(folder)
            self.notify(f"trial {trial.number}: its checkpoint {name} {why}")
        return None, ()

    def is_any_placed(self) -> bool:
        """Whether a trial runs, and does not wait for its place."""
        return any(attempt.placed for attempt in self.live.values())

    def silent(self, seconds: float) -> list[int]:
        """Numbers of the trials that run and gave no sign of life for so long."""
        since = self.history.appender.clock() - seconds
        return [
            each.number
            for each in self.live.values()
            if each.placed and each.last_heartbeat < since
        ]

    # What happened

    def placed(self, number: int) -> None:
        """A trial has its place. Where that is, its first message tells."""
        attempt = self.live.get(number)
        if attempt is None:
            return
        attempt.last_heartbeat = self.history.appender.clock()
        if attempt.placed is None:
            attempt.placed = self.history.now()
            self._changed(number)

    def heard(self, message: Message) -> Verdict:
        """A trial reports.

        Raises:
            ValueError: If an epoch before it is missing.
            KeyError: If it lacks the objective.
        """
        attempt = self.live.get(message.number)
        if attempt is None:
            return Verdict.STOP
        attempt.last_heartbeat = self.history.appender.clock()
        reports = tuple(map(report_of, message.epochs))
        self._check(attempt, reports)
        if message.failure:
            self._end(attempt, "failed", message.failure, reports, message)
        elif message.out_of_memory:
            self._no_room(attempt, message.out_of_memory, reports, message)
        else:
            self._take(attempt, reports, message)
        return Verdict.GO_ON if message.number in self.live else Verdict.STOP

    def idle(self) -> None:
        """Nothing happened for a while: writes what has waited for long."""
        try:
            self.history.flush(only_if_due=True)
        except OSError as error:
            self._stop_for(error)

    def failed(self, number: int, reason: str, output: str = "") -> None:
        """A trial has no result.

        Args:
            number: The trial.
            reason: Why, in one line.
            output: The last lines that its process wrote.
        """
        if number in self.live:
            self._end(self.live[number], "failed", reason, output=output[-LONGEST_OUTPUT:])

    def worker_failed(self, number: int, words: str, output: str) -> None:
        """The process of a trial died: the trial goes on from its checkpoint, if it may.

        Args:
            number: The trial.
            words: What there is to say of it, in one line.
            output: The last lines that the process wrote.
        """
        attempt = self.live.get(number)
        if attempt is None:
            return
        self.worker_failures[number] += 1
        times = self.worker_failures[number]
        if times > self.max_failures:
            self.failed(number, f"its process died {times} times: {words}", output)
            return
        self.notify(
            f"trial {number}: its process died after epoch {attempt.epoch}; it goes on from its "
            f"checkpoint ({times} of {self.max_failures} times)"
        )
        self._again(attempt, f"its process died: {words}", self.agenda.queue)

    def node_lost(self, number: int, what: str = "its node is gone") -> None:
        """The node of a trial is gone, or seems to be: the trial goes on elsewhere, as often as
        that happens."""
        attempt = self.live.get(number)
        if attempt is None:
            return
        times = self.worker_failures[number]
        if times > self.max_failures:
            lost = f"its process was lost {times} times on nodes that live; now {what}"
            self.failed(number, lost)
            return
        self.notify(
            f"trial {number}: {what}; it goes on from its checkpoint of epoch {attempt.epoch}"
        )
        self._again(attempt, what, self.agenda.queue)

    def place_again(self) -> None:
        """All processes of trials are gone, and none of them is to blame."""
        for attempt in list(self.live.values()):
            self._again(attempt, "all processes are gone", self.agenda.queue)

    def out_of_memory(self, number: int, reason: str) -> None:
        """A trial asked for more memory than there was: it is tried again alone, if it was not."""
        if number in self.live:
            self._no_room(self.live[number], reason)

    def system_error(self, number: int, error: OSError) -> None:
        """Something is wrong with the machine that a trial ran on: the session ends, and the next
        one goes on with the trial."""
        self.agenda.abort(error)
        if number in self.live:
            self._pause(self.live[number], SESSION_ENDS)

    def finish(self) -> None:
        """The session ends, or this part of it: trials that still run are left, and all that
        waits is written."""
        for attempt in list(self.live.values()):
            self._pause(attempt, SESSION_ENDS)
        try:
            self.history.flush()
        except OSError as error:
            self._stop_for(error)

    # How it is written

    def _check(self, attempt: Attempt, reports: Sequence[Report]) -> None:
        objective = self.state.session.objective
        for expected, report in enumerate(reports, start=attempt.epoch + 1):
            if report.epoch != expected:
                number = attempt.number
                raise ValueError(f"trial {number} did epoch {report.epoch} after {expected - 1}")
            if objective not in report.metrics:
                raise KeyError(f"trial {attempt.number} reports no {objective}")

    def _take(self, attempt: Attempt, reports: tuple[Report, ...], message: Message) -> None:
        """Epochs of a trial are in a checkpoint: writes them, and what follows from them."""
        if message.checkpoint != attempt.checkpoint:  # it is none that it goes on from
            self.checkpoints.saved(attempt.number, message.checkpoint)
        attempt.epoch += len(reports)
        attempt.checkpoint = message.checkpoint
        known = attempt.missing + reports
        events = self._place(attempt, message)
        if known:
            events.append(Reported(attempt.number, known, message.checkpoint))
        if not self._add(*events, then=lambda: self._ending(attempt)):
            self.live.pop(attempt.number, None)  # the next session goes on with it
            return
        attempt.missing = ()
        if attempt.number in self.live and self.agenda.should_stop():
            self._pause(attempt, SESSION_ENDS)
        else:
            self._changed(attempt.number)

    def _place(self, attempt: Attempt, message: Message) -> list[Event]:
        """Says in the log where a trial is, if that is not known yet."""
        if attempt.is_recorded or not message.where:
            return []
        attempt.is_recorded = True
        placement = placement_of(message.where, self.code)
        return [Placed(attempt.number, placement, attempt.placed or self.history.now())]

    def _ending(self, attempt: Attempt) -> Iterator[Event]:
        """How a trial ends after the epochs that it just reported, and what follows; nothing if it
        goes on."""
        trial = self.state.trial(attempt.number)
        is_behind = self.halving is not None and self.halving.is_behind(trial)
        is_whole = trial.epoch >= trial.config["epochs"]
        if (is_whole or is_behind) and not self.agenda.is_aborted():
            del self.live[attempt.number]
            status = "finished" if is_whole else "pruned"
            yield Ended(attempt.number, status, self.history.now())
            yield from self._following(attempt.number)

    def _end(
        self,
        attempt: Attempt,
        status: Status,
        reason: str,
        reports: tuple[Report, ...] = (),
        message: Message | None = None,
        output: str = "",
    ) -> None:
        """A trial is over without a result; in trouble the next session tells how."""
        if self.agenda.is_aborted():
            self._pause(attempt, SESSION_ENDS)
            return
        number = attempt.number
        del self.live[number]
        place = self._place(attempt, message) if message else []
        if attempt.missing and attempt.is_recorded:
            place.append(Reported(number, attempt.missing, attempt.checkpoint))
        ending = Ended(number, status, self.history.now(), reason, reports, output)
        if self._add(*place, ending, then=lambda: self._following(number)):
            self._changed(number)

    def _no_room(
        self,
        attempt: Attempt,
        reason: str,
        reports: tuple[Report, ...] = (),
        message: Message | None = None,
    ) -> None:
        number = attempt.number
        if self.agenda.alone:
            self._end(attempt, "infeasible", reason, reports, message)
            return
        self.notify(
            f"trial {number}: {reason}; it will be tried again alone, with the whole device"
        )
        self._again(attempt, reason, self.agenda.oom_retries, message)

    def _again(
        self, attempt: Attempt, reason: str, queue: list[int], message: Message | None = None
    ) -> None:
        self.attempts[attempt.number] += 1
        queue.append(attempt.number)
        self._pause(attempt, reason, message)

    def _pause(self, attempt: Attempt, reason: str, message: Message | None = None) -> None:
        """A trial leaves its place; epochs that no checkpoint holds are lost."""
        number = attempt.number
        del self.live[number]
        place = self._place(attempt, message) if message else []
        if attempt.is_recorded:
            self._add(*place, Paused(number, reason, self.history.now()))
        self._changed(number)

    def _propose(self) -> None:
        """Has one more trial in the queue, if there is to be one and others do not come first."""
        if self.agenda.wants_another():
            self._add(then=self._proposal)

    def _following(self, number: int) -> Iterator[Event]:
        """What follows from the end of a trial: the next proposal."""
        self.agenda.ended_now(self.state.trial(number))
        if self.agenda.wants_another():
            yield from self._proposal()

    def _proposal(self) -> Iterator[Proposed]:
        proposed = self.agenda.proposer.propose(self.history.now())
        self.agenda.queue.append(proposed.number)
        yield proposed

    def _add(self, *events: Event, **more: Any) -> bool:
        """Writes events; returns whether the log has them. If it has not, the session ends."""
        try:
            self.history.add(*events, **more)
        except OSError as error:
            self._stop_for(error)
            return False
        return True

    def _stop_for(self, error: OSError) -> None:
        """Nothing can be written any more; Ctrl-C in the middle of it is no trouble."""
        if isinstance(error, CutShort):
            self.agenda.halt(Stop("interrupted", described(error)))
        else:
            self.agenda.abort(error)

    def _changed(self, number: int) -> None:
        """Tells the observers how a trial stands; nobody hears of what is not in the log."""
        trial = self.history.trial(number)
        if trial is None or self.history.is_superseded:
            return
        try:
            for observer in self.observers:
                observer.changed(trial)
        except OSError as error:
            self.agenda.abort(error)
