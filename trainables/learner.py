"""The interface of a learner: whatever a trial trains epoch by epoch and can save and resume.

`trainables.fit.SupervisedLearner`, which fits a network, is a learner; others may be a
reinforcement-learning agent, a pair of adversarial networks, an evolution strategy, or a search
without any network.
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
    """Everything that a learner needs to resume, in two parts.

    Both parts contain only tensors, numbers, strings, None, and lists and dictionaries of these,
    so that they load with ``torch.load(weights_only=True)``.

    Attributes:
        model: The learned weights that predict or act. They are kept permanently for the trials
            that are compared, and are scored on the test split.
        training: State that only training needs, such as that of the optimiser.
    """

    model: Mapping[str, Any]
    training: Mapping[str, Any]


@dataclass(frozen=True)
class Probe:
    """Measured cost of an epoch of a learner.

    Attributes:
        epoch_seconds: Duration of an epoch, evaluation included.
        snapshot: A snapshot of the size that one has after an epoch; its values are meaningless.
    """

    epoch_seconds: float
    snapshot: Snapshot


class Diverged(ArithmeticError):
    """Raised when training cannot continue and would fail again, such as by a non-finite loss."""


class Learner(Protocol):
    """Interface of the training of one trial.

    An epoch is the unit of training after which metrics are computed. The study defines it: a pass
    over the train split, 1,000 steps of an environment, a generation. What follows an epoch must
    depend only on the learner's state, never on a clock: on the CPU, a restored learner continues
    bit-identically to an uninterrupted one.
    """

    def advance(self, epoch: int) -> dict[str, float]:
        """Trains for one epoch.

        Args:
            epoch: Number of the epoch, counted from 1.

        Returns:
            Metrics by name (``split/metric``), including the study's objective.

        Raises:
            Diverged: If training cannot continue.
        """
        ...

    def snapshot(self) -> Snapshot:
        """Returns a copy of the state after the latest epoch, to resume from."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Restores the state of a learner of the same configuration.

        Args:
            snapshot: State to restore, with tensors on the CPU.
        """
        ...

    def probe(self) -> Probe:
        """Measures the cost of an epoch with as little work as possible.

        The learner must not be used afterwards.
        """
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
