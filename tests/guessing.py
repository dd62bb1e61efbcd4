"""A learner without a network, a random search that takes microseconds, and its problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from record.trial import Role
from trainables.config import TrialConfig
from trainables.learner import Probe, Snapshot
from trainables.problem import Context

GOAL = 0.3


class Guessing:
    """A learner that draws eight numbers in each epoch and keeps the one nearest to `GOAL`."""

    def __init__(self, seed: int) -> None:
        self.dice = torch.Generator().manual_seed(seed)
        self.best = 1.0

    def advance(self, epoch: int) -> dict[str, Any]:
        del epoch
        guesses = [self.best, *torch.rand(8, generator=self.dice).tolist()]
        self.best = min(guesses, key=lambda guess: abs(guess - GOAL))
        return {"validation/score": -abs(self.best - GOAL)}

    def snapshot(self) -> Snapshot:
        return Snapshot({"best": self.best}, {"dice": self.dice.get_state()})

    def restore(self, snapshot: Snapshot) -> None:
        self.best = snapshot.model["best"]
        self.dice.set_state(snapshot.training["dice"])

    def probe(self) -> Probe:
        self.advance(1)
        return Probe(1e-6, self.snapshot())


@dataclass
class GuessingProblem:
    """A problem without data.

    Attributes:
        kind: Class of its learners.
        digest: Fingerprint of the problem.
        facts: Further properties to record.
        decided: Only values that the problem allows, by config field.
        begun: Arguments of each call of `learner`: configuration, role and context.
    """

    kind: type[Guessing] = Guessing
    digest: str = "of nothing"
    facts: Mapping[str, Any] = field(default_factory=dict)
    decided: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    begun: list[tuple[TrialConfig, Role, Context]] = field(default_factory=list)

    def check(self, config: TrialConfig) -> None:
        """Accepts any configuration."""

    def learner(self, config: TrialConfig, role: Role, context: Context) -> Guessing:
        self.begun.append((config, role, context))
        return self.kind(config.seed)
