"""The work queue of a session: trials begun earlier run first, then new ones, until it stops."""

from datasets.errors import described
from engine.budgets import Budgets, Limits, Stop
from engine.proposers import Proposer
from record.state import StudyState
from record.trial import Trial


class Agenda:
    """Queue of the trials still to run in a session, or in one part of it (search or finals).

    A signal handler may call `halt`.

    Args:
        state: State of the study, which has a session.
        proposer: Source of new trials.
        limits: Budgets that end the session.

    Attributes:
        queue: Numbers of the trials to run before a new one is proposed.
        oom_retries: Numbers of the trials that ran out of memory while others ran beside them.
        alone: True if each trial has a whole machine, or a whole GPU, to itself.
        stop: Reason why the session ends although trials are left; None while it continues.
    """

    def __init__(self, state: StudyState, proposer: Proposer, limits: Limits) -> None:
        self.state = state
        self.proposer = proposer
        self.limit = limits.trials
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
    def total(self) -> int:
        """Number of trials planned in all, earlier sessions included."""
        most = self.proposer.total
        return self.limit if most is None else min(self.limit, most)

    @property
    def ended(self) -> int:
        """Number of trials that have ended, in this session or an earlier one."""
        return sum(not trial.is_open for trial in self.proposer.trials())

    def is_done(self) -> bool:
        """True if the queue is empty and all trials have been proposed."""
        return not self.queue and len(self.proposer.trials()) >= self.total

    def wants_another(self) -> bool:
        """True if a new trial should be proposed now: the queue is empty and trials are left."""
        return not (self.queue or self.is_done() or self.should_stop())

    def take(self) -> int | None:
        """Removes the first trial from the queue and returns its number; None if it is empty."""
        return self.queue.pop(0) if self.queue else None

    def begin_alone(self) -> bool:
        """Queues the trials that ran out of memory again, now to be run one at a time.

        Returns:
            True if there is anything to run. Trials that run out of memory again are infeasible.
        """
        self.alone = True
        self.queue += self.oom_retries
        self.oom_retries = []
        return bool(self.queue) and not self.should_stop()

    def ended_now(self, trial: Trial) -> None:
        """Reports a trial that has just ended to the proposer and to the budgets."""
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

    # Stopping

    def should_stop(self) -> bool:
        """True if the session should end although trials are left; sets `stop` if so."""
        if self.stop is None:
            self.stop = self.budgets.stop()
        return self.stop is not None

    def is_aborted(self) -> bool:
        """True if a system error stopped the session, so that no ending can be trusted."""
        return self.stop is not None and self.stop.kind == "system_error"

    def was_cut_short(self) -> bool:
        """True if the user interrupted the session, or a system error ended it."""
        return self.stop is not None and self.stop.kind in ("interrupted", "system_error")

    def halt(self, stop: Stop) -> None:
        """Ends the session: no trial begins, and running trials stop after their current epoch.

        A system error replaces an earlier reason; any other reason does not.
        """
        if self.stop is None or stop.kind == "system_error":
            self.stop = stop

    def abort(self, error: BaseException) -> None:
        """Ends the session because of an error of the machine, not of a trial."""
        self.halt(Stop("system_error", described(error)))
