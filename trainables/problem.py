"""What a study's trials learn from, and where a trial works."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from datasets.errors import InputError
from record.trial import Role
from trainables.learner import Learner
from trainables.members import missing

if TYPE_CHECKING:
    import torch

    default = property
else:  # unlike a property, it lets a class of one's own set ``self.facts`` in its place
    from functools import cached_property as default

OWN = ("digest", "learner")
"""What every problem has to define."""

DEFAULTS = ("facts", "decided", "check")
"""What a class that extends `Problem` need not define."""

Config = TypeVar("Config", contravariant=True)


@dataclass(frozen=True)
class Context:
    """Where a learner works.

    Attributes:
        device: On which its tensors lie.
        cores: How many processor cores it may use.
    """

    device: "torch.device"
    cores: int


class Problem(Protocol[Config]):
    """Data, or an environment, opened once and shared by all trials of a study.

    It is pickled, with all that it holds, and lies once in the memory of each machine; trials
    must not change it. A class that extends this one defines `digest` and `learner`; it has no
    facts, decides no field and takes any configuration where it does not say otherwise.
    """

    @default
    def digest(self) -> str:
        """Fingerprint of everything that a trial sees: data, versions, seeds of evaluation. A
        study goes on, and is replayed, on the same digest only."""
        ...

    @default
    def facts(self) -> Mapping[str, Any]:
        """What else to record, such as the unit and the sizes of the splits."""
        return {}

    @default
    def decided(self) -> Mapping[str, Sequence[Any]]:
        """Config field -> the only values that this problem allows."""
        return {}

    def check(self, config: Config) -> None:
        """Checks that a configuration can be trained on it.

        Raises:
            InputError: If it cannot.
        """

    def learner(self, config: Config, role: Role, context: Context) -> Learner:
        """Begins a trial.

        Args:
            config: Its hyperparameters.
            role: What the trial is there for: a replicate may learn from other splits than the
                search did.
            context: Where it works.
        """
        ...


def check_problem(problem: object) -> None:
    """Checks that what a study opens is a problem.

    Raises:
        InputError: If it lacks members.
    """
    if lacking := [*missing(problem, OWN, Problem), *missing(problem, DEFAULTS, None)]:
        raise InputError(
            f"the study's open() gave a {type(problem).__name__} without {', '.join(lacking)}: "
            "expected an object with digest, facts, decided, check and learner; a class that "
            "extends orrery.Problem needs no more than digest and learner"
        )
