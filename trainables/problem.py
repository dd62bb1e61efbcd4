"""What a study's trials learn from, and where a trial works."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from record.trial import Role
from trainables.learner import Learner

if TYPE_CHECKING:
    import torch

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
    must not change it.
    """

    @property
    def digest(self) -> str:
        """Fingerprint of everything that a trial sees: data, versions, seeds of evaluation. A
        study goes on, and is replayed, on the same digest only."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What else to record, such as the unit and the sizes of the splits."""
        ...

    @property
    def decided(self) -> Mapping[str, Sequence[Any]]:
        """Config field -> the only values that this problem allows."""
        ...

    def check(self, config: Config) -> None:
        """Checks that a configuration can be trained on it.

        Raises:
            InputError: If it cannot.
        """
        ...

    def learner(self, config: Config, role: Role, context: Context) -> Learner:
        """Begins a trial.

        Args:
            config: Its hyperparameters.
            role: What the trial is there for: a replicate may learn from other splits than the
                search did.
            context: Where it works.
        """
        ...
