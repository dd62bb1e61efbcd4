"""What a trial trains: anything that learns one epoch at a time, and can stop and go on.

A fit of a network is one (`trainables.fit.SupervisedLearner`); so is an agent, a pair of networks
that play against each other, an evolution strategy, or a search that has no network at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from datasets.errors import InputError
from trainables.members import missing

MEMBERS = ("advance", "snapshot", "restore", "probe")
"""What a learner has to have."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that a learner needs to go on, in two parts.

    Both hold nothing but tensors, numbers, texts, None, and lists and dictionaries of them, so
    that they load with ``torch.load(weights_only=True)``.

    Attributes:
        model: What was learned: the weights of what predicts or acts. It is kept for good with the
            trials that are compared, and scored on the test split.
        training: What only training needs, such as the state of an optimiser.
    """

    model: Mapping[str, Any]
    training: Mapping[str, Any]


@dataclass(frozen=True)
class Probe:
    """What an epoch of a learner takes.

    Attributes:
        epoch_seconds: How long it lasts, evaluation included.
        snapshot: As large as one is after an epoch; what it holds is of no use.
    """

    epoch_seconds: float
    snapshot: Snapshot


class Diverged(ArithmeticError):
    """Training went wrong for good, and would again: a loss became infinite, or not a number."""


class Learner(Protocol):
    """One trial's training.

    An epoch is what is reported together; its unit is the study's: a pass over the train split,
    1,000 steps of an environment, a generation. What follows an epoch depends on the learner's
    state alone, never on a clock: on the CPU, a learner that was restored continues bit for bit as
    the one that was not interrupted.
    """

    def advance(self, epoch: int) -> dict[str, float]:
        """Learns for one epoch.

        Args:
            epoch: Its number, counted from 1.

        Returns:
            Metrics by name (``split/metric``), the study's objective among them.

        Raises:
            Diverged: If there is no sense in going on.
        """
        ...

    def snapshot(self) -> Snapshot:
        """What to go on from after the latest epoch, copied."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Goes back to where a learner of the same configuration was. The tensors come from the
        CPU."""
        ...

    def probe(self) -> Probe:
        """Finds out what an epoch takes, by as little as tells; the learner is of no use
        afterwards."""
        ...


def check_learner(learner: object) -> None:
    """Checks that what a problem gives for a learner is one.

    Raises:
        InputError: If it lacks members.
    """
    if lacking := missing(learner, MEMBERS, Learner):
        raise InputError(
            f"learner() gave a {type(learner).__name__} without {', '.join(lacking)}: expected an "
            "object with advance, snapshot, restore and probe (docs/your-own-study.md)"
        )
