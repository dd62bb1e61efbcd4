"""What a session runs: the trials that were begun before, then new ones, until it is to stop."""

from datasets.errors import described
from engine.budgets import Budgets, Limits, Stop
from engine.proposers import Proposer
from record.state import StudyState
from record.trial import Trial


class Agenda:
    """What is left to run in a session, or in one part of it. A signal's handler may `halt` it.

    Args:
        state: The study, in a session.
        proposer: Where new trials come from.
        limits: When to stop.

    Attributes:
        total: How many trials there are to be in the end.
        queue: Numbers of the trials to run next, before any is proposed.
        oom_retries: Numbers of those that did not fit beside others.
        alone: Whether each trial has a whole machine, or GPU, to itself.
        stop: Why the session ends although trials are left; None: it goes on.
    """

    def __init__(self, state: StudyState, proposer: Proposer, limits: Limits) -> None:
        self.state = state
        self.proposer = proposer
        self.total = limits.trials
        self.budgets = Budgets(limits, state.session.objective)
        self.oom_retries: list[int] = []
        self.alone = False
        self.stop: Stop | None = None
        mine = {trial.number: trial for trial in proposer.trials()}
        for number in state.endings:
            if number in mine:
                self._count(mine[number], is_of_this_session=False)
        left = [number for number, trial in mine.items() if trial.is_open]
        self.queue = left[: max(0, self.total - self.ended)]

    @property
    def ended(self) -> int:
        """How many trials have come to their end, in this session or an earlier one."""
        return sum(not trial.is_open for trial in self.proposer.trials())

    def is_done(self) -> bool:
        """Whether no trial is left to begin."""
        return not self.queue and len(self.proposer.trials()) >= self.total

    def wants_another(self) -> bool:
        """Whether a new trial is to be proposed now."""
        return not (self.queue or self.is_done() or self.should_stop())

    def take(self) -> int | None:
        """The number of the trial to run now, which is off the queue then; None: there is none."""
        return self.queue.pop(0) if self.queue else None

    def begin_alone(self) -> bool:
        """Puts the trials that did not fit beside others on the queue, one by one and for the
        last time; returns whether there is anything to run."""
        self.alone = True
        self.queue += self.oom_retries
        self.oom_retries = []
        return bool(self.queue) and not self.should_stop()

    def ended_now(self, trial: Trial) -> None:
        """A trial has ended: a new one may depend on it, and whether the session goes on."""
        self.proposer.tell(trial)
        self._count(trial, is_of_this_session=True)

    def _count(self, trial: Trial, is_of_this_session: bool) -> None:
        value = self.state.value(trial)
        match trial.status:
            case ("finished" | "pruned" | "failed" | "infeasible") as status:
                if is_of_this_session:
                    self.budgets.ended(status, value, trial.reason)
                else:
                    self.budgets.known(status, value)

    # When it stops

    def should_stop(self) -> bool:
        """Whether the session ends although trials are left."""
        if self.stop is None:
            self.stop = self.budgets.stop()
        return self.stop is not None

    def is_aborted(self) -> bool:
        """Whether something is wrong with the machine: no ending can be trusted."""
        return self.stop is not None and self.stop.kind == "system_error"

    def was_cut_short(self) -> bool:
        """Whether the user ended the session, or the machine."""
        return self.stop is not None and self.stop.kind in ("interrupted", "system_error")

    def halt(self, stop: Stop) -> None:
        """Ends the session: no trial is begun, those that run are left after their epoch. Trouble
        is said, whatever else ends it."""
        if self.stop is None or stop.kind == "system_error":
            self.stop = stop

    def abort(self, error: BaseException) -> None:
        """Something is wrong with the machine and not with a trial: the session ends."""
        self.halt(Stop("system_error", described(error)))
