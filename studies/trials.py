"""The trials of one session: what runs next, and what becomes of each.

Both runners, Ray's and the one in this process, drive this object and nothing else. An epoch
counts once a checkpoint holds it: until then it is held back, unless it is among the last of a
trial. What ends a trial is in the log before anything follows from it but the next proposal, which
is in the same group.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from upath import UPath

from datasets.errors import described
from record.events import Ended, Event, Paused, Placed, Proposed, Reported
from record.trial import Baseline, Placement, Status, Trial
from studies.agenda import Agenda
from studies.attempt import Attempt, resumed
from studies.budgets import Stop
from studies.checkpoints import Checkpoints
from studies.history import CutShort, History
from studies.provenance import Code
from studies.results import placement_of, report_of
from trainables import checkpoint
from trainables.trial_spec import TrialSpec

LONGEST_OUTPUT = 4_000
"""Characters, counted from its end, of what a process wrote."""

SESSION_ENDS = "the session ends"


class Observer(Protocol):
    """Hears of each change of a trial once it is in the log, in the main thread."""

    def changed(self, trial: Trial) -> None:
        """A trial was placed, did epochs, was paused, or ended.

        Raises:
            OSError: If something is wrong with the machine; it ends the session.
        """
        ...


class Trials:
    """The trials of one session, or of one part of it. Used by the main thread alone.

    Args:
        history: Of the study, in a session.
        agenda: What is to be run.
        checkpoints: Of the study.
        code: What they are trained with.
        observers: Told of every change, in this order.
        max_failures: Times that one goes on from its checkpoint after its process died.
        say: Where to say what the user should know at once.

    Attributes:
        live: Number -> a trial that runs or waits for its place.
        attempts: Number -> how often this session began the trial anew.
        deaths: Number -> how often its process died.
    """

    def __init__(
        self,
        history: History,
        agenda: Agenda,
        checkpoints: Checkpoints,
        code: Code,
        observers: Sequence[Observer] = (),
        max_failures: int = 0,
        say: Callable[[str], None] = print,
    ) -> None:
        self.history = history
        self.state = history.state
        self.agenda = agenda
        self.checkpoints = checkpoints
        self.code = code
        self.observers = observers
        self.max_failures = max_failures
        self.say = say
        self.live: dict[int, Attempt] = {}
        self.attempts: Counter[int] = Counter()
        self.deaths: Counter[int] = Counter()

    @property
    def objective(self) -> str:
        """The metric that is searched for."""
        return self.state.session.objective

    # What to run

    def next(self) -> Trial | None:
        """A trial to run: first those that were begun before, then new ones."""
        if self.agenda.should_stop():
            return None
        self._propose_after()
        number = self.agenda.take()
        return None if number is None else self.state.trial(number)

    def begin(self, trial: Trial) -> TrialSpec:
        """What the process of a trial is to know; the trial is under way from now on.

        Raises:
            OSError: If a checkpoint cannot be read.
        """
        number = trial.number
        if number in self.attempts:
            self.checkpoints.look_again(number)
        folder, rows = self._newest(number)
        name = self.checkpoints.name(folder) if folder else ""
        now = self.history.appender.clock()
        self.live[number] = resumed(trial, [report_of(row) for row in rows], name, now)
        return TrialSpec(
            number,
            self.agenda.proposer.space.config(**trial.config),
            isinstance(trial.role, Baseline),
            str(folder) if folder else None,
            self.attempts[number],
        )

    def _newest(self, number: int) -> tuple[UPath | None, Sequence[Mapping[str, Any]]]:
        """The newest whole checkpoint of a trial, and the epochs that it holds."""
        for folder in self.checkpoints.of_trial(number):
            state = checkpoint.read(folder)
            if state is not None:
                return folder, state["history"]
            name = self.checkpoints.name(folder)
            self.say(f"trial {number}: its checkpoint {name} is damaged or cut off")
        return None, ()

    def is_under_way(self, placed: bool = False) -> bool:
        """Whether a trial runs or, unless only `placed` ones count, waits for its place."""
        return any(attempt.placed or not placed for attempt in self.live.values())

    def silent(self, seconds: float) -> list[int]:
        """Numbers of the trials that run and gave no sign of life for so long."""
        since = self.history.appender.clock() - seconds
        return [each.number for each in self.live.values() if each.placed and each.heard < since]

    # What happened

    def placed(self, number: int) -> None:
        """A trial has its place. Where that is, its first epoch tells."""
        attempt = self.live.get(number)
        if attempt is None:
            return
        attempt.heard = self.history.appender.clock()
        if attempt.placed is None:
            attempt.placed = self.history.now()
            self._changed(number)

    def epoch(self, number: int, result: Mapping[str, Any]) -> None:
        """A trial has done an epoch.

        Args:
            number: The trial.
            result: See `studies.results`.

        Raises:
            ValueError: If an epoch before it is missing.
            KeyError: If it lacks the objective.
        """
        attempt = self.live.get(number)
        if attempt is None:
            return
        attempt.heard = self.history.appender.clock()
        report = report_of(result)
        if self.objective not in report.metrics:
            raise KeyError(f"trial {number} reports no {self.objective}")
        if attempt.take(report) and not attempt.is_recorded:
            self._record_place(attempt, placement_of(result, self.code))

    def saved(self, number: int, name: str) -> None:
        """The epochs of a trial so far are in a checkpoint of this name, see `Checkpoints`."""
        self.checkpoints.saved(number, name)
        attempt = self.live.get(number)
        if attempt is None:
            return
        attempt.save(name)
        if attempt.is_recorded and self._add(*self._reported(attempt)):
            attempt.logged = attempt.saved
            self._changed(number)

    def trim(self, number: int) -> None:
        """Removes the checkpoints of a trial that runs, but the newest; for who does not have
        its process do so."""
        if not self.history.is_superseded:
            self.checkpoints.keep(number, checkpoint.KEPT)

    def look(self) -> None:
        """Nothing happened for a while: writes what has waited for long."""
        try:
            self.history.flush(only_if_due=True)
        except OSError as error:
            self._stop_for(error)

    def leave(self, number: int) -> None:
        """A trial is being stopped because the session ends; the next one goes on with it."""
        if number in self.live:
            self.live[number].is_leaving = True

    def completed(self, number: int) -> None:
        """A trial ended well: after its last epoch, or by the scheduler before, or by `leave`."""
        attempt = self.live.get(number)
        if attempt is None:
            return
        if attempt.is_leaving or not attempt.epoch:
            self._pause(attempt, SESSION_ENDS)
        elif attempt.epoch >= self.state.trial(number).config["epochs"]:
            self._end(attempt, "finished")
        else:
            self._end(attempt, "pruned")

    def failed(self, number: int, reason: str, output: str = "") -> None:
        """A trial has no result.

        Args:
            number: The trial.
            reason: Why, in one line.
            output: The last lines that its process wrote.
        """
        if number in self.live:
            self._end(self.live[number], "failed", reason, output[-LONGEST_OUTPUT:])

    def died(self, number: int, words: str, output: str) -> None:
        """The process of a trial died: the trial goes on from its checkpoint, if it may.

        Args:
            number: The trial.
            words: What there is to say of it, in one line.
            output: The last lines that the process wrote.
        """
        attempt = self.live.get(number)
        if attempt is None:
            return
        self.deaths[number] += 1
        times = self.deaths[number]
        if times > self.max_failures:
            self.failed(number, f"its process died {times} times: {words}", output)
            return
        self.say(
            f"trial {number}: its process died after epoch {attempt.epoch}; it goes on from its "
            f"checkpoint ({times} of {self.max_failures} times)"
        )
        self._again(attempt, f"its process died: {words}", self.agenda.queue)

    def moved(self, number: int, what: str = "its node is gone") -> None:
        """The node of a trial is gone, or seems to be: the trial goes on elsewhere, as often as
        that happens."""
        attempt = self.live.get(number)
        if attempt is None:
            return
        times = self.deaths[number]
        if times > self.max_failures:
            lost = f"its process was lost {times} times on nodes that live; now {what}"
            self.failed(number, lost)
            return
        self.say(
            f"trial {number}: {what} after epoch {attempt.epoch}; it goes on from its checkpoint "
            f"of epoch {attempt.saved}"
        )
        self._again(attempt, what, self.agenda.queue)

    def place_again(self) -> None:
        """All processes of trials are gone, and none of them is to blame."""
        for attempt in list(self.live.values()):
            self._again(attempt, "all processes are gone", self.agenda.queue)

    def out_of_memory(self, number: int, reason: str) -> None:
        """A trial asked for more memory than there was: it is tried again alone, if it was not."""
        attempt = self.live.get(number)
        if attempt is None:
            return
        if self.agenda.alone:
            self._end(attempt, "infeasible", reason)
            return
        self.say(f"trial {number}: {reason}; it will be tried again alone, with the whole device")
        self._again(attempt, reason, self.agenda.crowded)

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

    def _record_place(self, attempt: Attempt, placement: Placement) -> None:
        """Writes where a trial is, and what a checkpoint holds of it that the log does not: the
        session that trained it may have been cut off before it was written."""
        number = attempt.number
        event = Placed(number, placement, attempt.placed or self.history.now())
        if self._add(event, *self._reported(attempt)):
            attempt.is_recorded, attempt.logged = True, attempt.saved
            self._changed(number)

    def _reported(self, attempt: Attempt) -> list[Event]:
        reports = attempt.saved_and_not_logged()
        return [Reported(attempt.number, reports, attempt.checkpoint)] if reports else []

    def _end(self, attempt: Attempt, status: Status, reason: str = "", output: str = "") -> None:
        """A trial is over; in trouble the next session tells how."""
        if self.agenda.is_in_trouble():
            self._pause(attempt, SESSION_ENDS)
            return
        number = attempt.number
        del self.live[number]
        reports = attempt.not_logged()
        event = Ended(number, status, self.history.now(), reason, reports, output)
        if self._propose_after(event):
            self._changed(number)

    def _again(self, attempt: Attempt, reason: str, queue: list[int]) -> None:
        self.attempts[attempt.number] += 1
        queue.append(attempt.number)
        self._pause(attempt, reason)

    def _pause(self, attempt: Attempt, reason: str) -> None:
        """A trial leaves its place; epochs that no checkpoint holds are lost."""
        number = attempt.number
        del self.live[number]
        if attempt.is_recorded:
            self._add(Paused(number, reason, self.history.now()))
        self._changed(number)

    def _propose_after(self, *endings: Ended) -> bool:
        """Writes endings and, with them, the next proposal, unless others are to be run first;
        returns whether they are in the log."""
        proposed: list[Proposed] = []

        def follow() -> Sequence[Event]:
            for ending in endings:
                self.agenda.ended_now(self.state.trial(ending.number))
            if self.agenda.wants_another():
                proposed.append(self.agenda.proposer.propose(self.history.now()))
            return proposed

        is_written = self._add(*endings, then=follow)
        if is_written:
            self.agenda.queue += [each.number for each in proposed]
        return is_written

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
            self.agenda.trouble(error)

    def _changed(self, number: int) -> None:
        """Tells the observers how a trial stands; nobody hears of what is not in the log."""
        trial = self.history.trial(number)
        if trial is None or self.history.is_superseded:
            return
        try:
            for observer in self.observers:
                observer.changed(trial)
        except OSError as error:
            self.agenda.trouble(error)
