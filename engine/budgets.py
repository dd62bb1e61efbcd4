"""Stopping criteria that end a study before all of its trials are done."""

import math
import time
from dataclasses import dataclass
from typing import Literal

from record.trial import Status

FIRST = 5
"""A session ends if this many trials ended in it and all of them failed."""

Kind = Literal["interrupted", "time", "target", "plateau", "failures", "system_error"]


@dataclass(frozen=True)
class Stop:
    """The reason why a session ends early.

    Attributes:
        kind: ``interrupted``: by the user; ``time``: the time budget is used up; ``target``: the
            objective reached its target; ``plateau``: too many trials in a row without a better
            one; ``failures``: the first trials all failed; ``system_error``: the machine failed,
            for example with a full disk.
        text: Message for the user, with the numbers involved.
    """

    kind: Kind
    text: str

    @property
    def is_answer(self) -> bool:
        """True if this ends the whole study, not only the session: target or plateau reached."""
        return self.kind in ("target", "plateau")


@dataclass(frozen=True)
class Limits:
    """The user's limits on a study and on this session.

    Attributes:
        trials: Number of trials in all, those of earlier sessions included.
        minutes: Time budget of this session in minutes; None for no limit.
        target: Value of the objective at which the study ends; None for no target.
        plateau: Number of trials in a row without a better one after which the study ends; None
            for no limit.
        begun: ``time.monotonic()`` at the start of the session; None means now.
    """

    trials: int
    minutes: float | None = None
    target: float | None = None
    plateau: int | None = None
    begun: float | None = None


class Budgets:
    """Checks after each trial whether one of the limits is reached.

    Args:
        limits: The user's limits.
        objective: Name of the maximised metric, for messages.
    """

    def __init__(self, limits: Limits, objective: str) -> None:
        self.limits = limits
        self.objective = objective
        self.begun = time.monotonic() if limits.begun is None else limits.begun
        self.best = -math.inf
        self.since_best = 0
        self.session: list[Status] = []
        self.reason = ""

    def known(self, state: Status, value: float | None) -> None:
        """Counts a trial that ended in an earlier session; call it in the order of the endings.

        Args:
            state: Status with which the trial ended.
            value: Value of its objective; None if it has none.
        """
        self.since_best += 1
        if state == "finished" and value is not None and value > self.best:
            self.best, self.since_best = value, 0

    def ended(self, state: Status, value: float | None, reason: str) -> None:
        """Counts a trial that ended in this session.

        Args:
            state: Status with which the trial ended.
            value: Value of its objective; None if it has none.
            reason: Why it failed; empty if it did not.
        """
        self.known(state, value)
        self.session.append(state)
        self.reason = reason or self.reason

    def stop(self) -> Stop | None:
        """Returns why the session should end now; None if it should continue."""
        limits = self.limits
        if limits.target is not None and self.best >= limits.target:
            reached = f"{self.objective} {self.best:.4f} reached the target of {limits.target:g}"
            return Stop("target", reached)
        if (
            limits.plateau is not None
            and self.best > -math.inf
            and self.since_best >= limits.plateau
        ):
            return Stop("plateau", f"no better trial among the last {self.since_best}")
        if len(self.session) >= FIRST and self.best == -math.inf and self._only_failures():
            return Stop("failures", f"the first {FIRST} trials failed: {self.reason}")
        if limits.minutes is not None and time.monotonic() - self.begun >= 60 * limits.minutes:
            return Stop("time", f"the time budget of {limits.minutes:g} minutes is used up")
        return None

    def _only_failures(self) -> bool:
        return all(state in ("failed", "infeasible") for state in self.session)
