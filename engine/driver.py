"""Controls the trials of one session: which runs next, and how each one continues or ends.

Both backends, Ray and the in-process one, call only this object. An epoch counts once a checkpoint
holds it. The end of a trial is in the log before anything follows from it, except the next
proposal, which is written in the same group of events.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, Protocol

from upath import UPath

from datasets.errors import InputError, described
from engine.agenda import Agenda
from engine.attempt import Attempt, begun
from engine.budgets import Stop
from engine.checkpoints import Checkpoints
from engine.early_stopping import Halving
from engine.history import CutShort, History
from engine.provenance import Code
from engine.results import placement_of, report_of
from record.events import Dropped, Ended, Event, Paused, Placed, Proposed, Reported
from record.trial import Report, Status, Trial
from record.values import plain
from trainables import checkpoint
from trainables.message import Message, Row
from trainables.trial_spec import TrialSpec, trial_folder

LONGEST_OUTPUT = 4_000
"""Number of characters kept from the end of a crashed process's output."""

MESSAGES_A_SECOND = 10
"""Maximum number of messages per second from all trials together.

Each message costs the driver about 20 ms, and more with many concurrent trials. If epochs are
faster than that, a trial reports several of them in one message.
"""

SESSION_ENDS = "the session ends"


class Nothing(Enum):
    """Result of `Driver.next` if there is no trial to run now."""

    WAIT = "one that is under way may have to be run again"
    DONE = "none is left"


class Verdict(Enum):
    """The driver's answer to a message: the trial continues, or it stops."""

    GO_ON = "it goes on"
    STOP = "it is over, for this session at least"


class Observer(Protocol):
    """Is notified of each change of a trial once it is in the log, in the main thread."""

    def changed(self, trial: Trial) -> None:
        """Handles a trial that was placed, completed epochs, was paused, or ended.

        Raises:
            OSError: If something is wrong with the machine; the session ends.
        """
        ...


class Driver:
    """Controls the trials of one session, or of one part of it. Only the main thread may use it.

    Args:
        history: Log and state of the study, which has a session.
        agenda: Queue of the trials to run.
        checkpoints: Checkpoints of the study.
        code: Version of the code that trains the trials.
        observers: Notified of every change, in this order.
        halving: Decides which trials are stopped early; None to stop none.
        max_failures: Number of times that a trial resumes after its process crashed.
        notify: Prints a message for the user.

    Attributes:
        live: Trial number -> the attempt, for trials that run or wait for a slot.
        attempts: Trial number -> how often this session restarted the trial.
        worker_failures: Trial number -> how often its process crashed in this session.
        dropped: Numbers of the finalists whose drop the observers are not yet notified of.
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
        self.dropped: list[int] = []

    # Starting trials

    def next(self) -> Trial | Nothing:
        """Returns the next trial to run, from the queue or newly proposed.

        If there is none, the result says whether one may come up later.
        """
        if self.agenda.should_stop():
            return Nothing.DONE
        self._propose()
        if self.agenda.should_stop():  # writing the proposal may have failed
            return Nothing.DONE
        number = self.agenda.take()
        if number is not None:
            return self.state.trial(number)
        return Nothing.WAIT if self.live else Nothing.DONE

    def begin(self, trial: Trial, at_once: int = 0) -> TrialSpec:
        """Starts an attempt at a trial and returns the specification for its process.

        Args:
            trial: The trial to run, from `next`.
            at_once: Number of trials that run concurrently, which sets how often it reports; 0
                to report after every epoch.

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
        """Returns the newest usable checkpoint of a trial and its epochs; None without one.

        Damaged checkpoints, and those of another configuration, are reported and skipped.
        """
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
        """Returns True if a trial is running, not only waiting for a slot."""
        return any(attempt.placed for attempt in self.live.values())

    def silent(self, seconds: float) -> list[int]:
        """Returns the numbers of the running trials without a sign of life for so many seconds."""
        since = self.history.appender.clock() - seconds
        return [
            each.number
            for each in self.live.values()
            if each.placed and each.last_heartbeat < since
        ]

    # Handling events

    def placed(self, number: int) -> None:
        """Handles that a trial got a slot; its first message says on which node."""
        attempt = self.live.get(number)
        if attempt is None:
            return
        attempt.last_heartbeat = self.history.appender.clock()
        if attempt.placed is None:
            attempt.placed = self.history.now()
            self._changed(number)

    def heard(self, message: Message) -> Verdict:
        """Handles a message from a trial's process.

        Returns:
            Whether the trial continues; it stops if it has ended or left its slot.

        Raises:
            ValueError: If the reported epochs do not follow the last known one.
            InputError: If a report lacks the objective.
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
        """Writes reports to the log that have been buffered for long; called between messages."""
        try:
            self.history.flush(only_if_due=True)
        except OSError as error:
            self._stop_for(error)

    def failed(self, number: int, reason: str, output: str = "") -> None:
        """Ends a trial as failed.

        Args:
            number: Number of the trial.
            reason: Why it failed, in one line.
            output: Last lines of its process's output.
        """
        if number in self.live:
            self._end(self.live[number], "failed", reason, output=output[-LONGEST_OUTPUT:])

    def worker_failed(self, number: int, words: str, output: str) -> None:
        """Handles a crash of a trial's process.

        The trial is queued again to resume from its checkpoint, or fails after more than
        `max_failures` crashes.

        Args:
            number: Number of the trial.
            words: Description of the crash, in one line.
            output: Last lines of the process's output.
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
        """Handles the loss of a trial's node: the trial is queued again to resume elsewhere.

        This does not count as a crash. A trial whose process crashed too often before fails.
        """
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
        """Queues all live trials again after all of their processes were lost.

        This does not count as a crash of any of them.
        """
        for attempt in list(self.live.values()):
            self._again(attempt, "all processes are gone", self.agenda.queue)

    def out_of_memory(self, number: int, reason: str) -> None:
        """Handles a trial that ran out of memory: it is retried alone once, then infeasible."""
        if number in self.live:
            self._no_room(self.live[number], reason)

    def system_error(self, number: int, error: OSError) -> None:
        """Ends the session because of an error of the machine on which a trial ran.

        The next session resumes the trial.
        """
        self.agenda.abort(error)
        if number in self.live:
            self._pause(self.live[number], SESSION_ENDS)

    def finish(self) -> None:
        """Ends the session, or this part of it: pauses live trials and writes buffered reports."""
        for attempt in list(self.live.values()):
            self._pause(attempt, SESSION_ENDS)
        try:
            self.history.flush()
        except OSError as error:
            self._stop_for(error)

    # Writing to the log

    def _check(self, attempt: Attempt, reports: Sequence[Report]) -> None:
        objective = self.state.session.objective
        for expected, report in enumerate(reports, start=attempt.epoch + 1):
            if report.epoch != expected:
                number = attempt.number
                raise ValueError(f"trial {number} did epoch {report.epoch} after {expected - 1}")
            if objective not in report.metrics:
                raise InputError(
                    f"trial {attempt.number} reports no {objective}, the study's objective, but "
                    f"{', '.join(sorted(report.metrics)) or 'nothing'}: name one of these as the "
                    "objective, or report it"
                )

    def _take(self, attempt: Attempt, reports: tuple[Report, ...], message: Message) -> None:
        """Logs the epochs that a new checkpoint holds, and what follows from them."""
        if message.checkpoint != attempt.checkpoint:  # not the one that it resumed from
            self.checkpoints.saved(attempt.number, message.checkpoint)
        attempt.epoch += len(reports)
        attempt.checkpoint = message.checkpoint
        known = attempt.missing + reports
        events = self._place(attempt, message)
        if known:
            events.append(Reported(attempt.number, known, message.checkpoint))
        if not self._add(*events, then=lambda: self._ending(attempt)):
            self.live.pop(attempt.number, None)  # the next session resumes it
            return
        attempt.missing = ()
        if attempt.number in self.live and self.agenda.should_stop():
            self._pause(attempt, SESSION_ENDS)
        else:
            self._changed(attempt.number)

    def _place(self, attempt: Attempt, message: Message) -> list[Event]:
        """Returns the event that records a trial's node, unless the log has it already."""
        if attempt.is_recorded or not message.where:
            return []
        attempt.is_recorded = True
        placement = placement_of(message.where, self.code)
        return [Placed(attempt.number, placement, attempt.placed or self.history.now())]

    def _ending(self, attempt: Attempt) -> Iterator[Event]:
        """Yields the end of a trial, if it is done or stopped early, and the next proposal."""
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
        """Ends a trial that has no result; after a system error it is paused instead."""
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
        """Takes a trial off its slot; epochs that no checkpoint holds are lost."""
        number = attempt.number
        del self.live[number]
        place = self._place(attempt, message) if message else []
        if attempt.is_recorded:
            self._add(*place, Paused(number, reason, self.history.now()))
        self._changed(number)

    def _propose(self) -> None:
        """Proposes a trial and queues it, if the agenda wants another one."""
        if self.agenda.wants_another() and self._add(then=self._next_events):
            self._notify_of_dropped()

    def _following(self, number: int) -> Iterator[Event]:
        """Tells the agenda that a trial ended, and yields what follows from that."""
        self.agenda.ended_now(self.state.trial(number))
        yield from self._next_events()

    def _next_events(self) -> Iterator[Event]:
        """Yields what is due by the results so far, and the next proposal if one is wanted."""
        for event in self.agenda.proposer.due(self.history.now()):
            if isinstance(event, Dropped):
                self.dropped.append(event.number)
            yield event
        if self.agenda.wants_another():
            yield self._proposal()

    def _proposal(self) -> Proposed:
        proposed = self.agenda.proposer.propose(self.history.now())
        self.agenda.queue.append(proposed.number)
        return proposed

    def _add(self, *events: Event, **more: Any) -> bool:
        """Writes events and returns True; if that fails, ends the session and returns False."""
        try:
            self.history.add(*events, **more)
        except OSError as error:
            self._stop_for(error)
            return False
        return True

    def _stop_for(self, error: OSError) -> None:
        """Ends the session after a failed write; an interrupted write is not a system error."""
        if isinstance(error, CutShort):
            self.agenda.halt(Stop("interrupted", described(error)))
        else:
            self.agenda.abort(error)

    def _changed(self, number: int) -> None:
        """Notifies the observers of a trial's state, and of what its end led to."""
        self._notify_of(number)
        self._notify_of_dropped()

    def _notify_of_dropped(self) -> None:
        while self.dropped:
            self._notify_of(self.dropped.pop(0))

    def _notify_of(self, number: int) -> None:
        """Notifies the observers of a trial's state, unless the log does not have that state."""
        trial = self.history.trial(number)
        if trial is None or self.history.is_superseded:
            return
        try:
            for observer in self.observers:
                observer.changed(trial)
        except OSError as error:
            self.agenda.abort(error)
