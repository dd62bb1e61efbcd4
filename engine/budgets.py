"""What ends a study before its trials are all done."""

import math
import time
from dataclasses import dataclass
from typing import Literal

from record.trial import Status

FIRST = 5
"""Trials that may all fail before a session is given up: the sixth would fail as well."""

Kind = Literal["interrupted", "time", "target", "plateau", "failures", "system_error"]


@dataclass(frozen=True)
class Stop:
    """Why a session ends early.

    Attributes:
        kind: ``interrupted`` by the user; ``time`` is up; the ``target`` is reached; a
            ``plateau``: no better trial for long; only ``failures`` at first; ``trouble`` with
            the machine, such as a full disk.
        text: The same for the user, with its figures.
    """

    kind: Kind
    text: str

    @property
    def is_answer(self) -> bool:
        """Whether the study has come to its end, and not only the session."""
        return self.kind in ("target", "plateau")


@dataclass(frozen=True)
class Limits:
    """What the user allows.

    Attributes:
        trials: In all, earlier sessions' included.
        minutes: Of this session; None: any number.
        target: Value of the objective at which the study ends; None: none is enough.
        plateau: Ended trials without a better one after which the study ends; None: any number.
        begun: ``time.monotonic()`` when the session began; None: now.
    """

    trials: int
    minutes: float | None = None
    target: float | None = None
    plateau: int | None = None
    begun: float | None = None


class Budgets:
    """Watches the limits.

    Args:
        limits: What the user allows.
        objective: The metric that is maximised.
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
        """Takes in how a trial of an earlier session ended, in the order of the endings."""
        self.since_best += 1
        if state == "finished" and value is not None and value > self.best:
            self.best, self.since_best = value, 0

    def ended(self, state: Status, value: float | None, reason: str) -> None:
        """Takes in how a trial ended now."""
        self.known(state, value)
        self.session.append(state)
        self.reason = reason or self.reason

    def stop(self) -> Stop | None:
        """Why the session should end now; None: it goes on."""
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
