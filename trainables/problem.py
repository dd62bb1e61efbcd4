"""The interface of a study's problem: the data or environment that its trials learn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from datasets.errors import InputError
from datasets.parallel import ParallelMap
from record.trial import Role
from record.values import plain
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
    """The device and the processor cores that a learner may use.

    Attributes:
        device: Device of the learner's tensors.
        cores: Number of processor cores that the learner may use; in the pre-flight, which has no
            workers yet, theirs are counted.
        parallel: Maps a function over items, on Ray on these cores and those of the trial's
            workers. The function must be picklable and give the same result wherever, and however
            often, it runs; elsewhere it is the builtin map.
    """

    device: "torch.device"
    cores: int
    parallel: ParallelMap = map


class Problem(Protocol[Config]):
    """Data or an environment, loaded once and shared by all trials of a study.

    A problem is pickled with everything it contains and kept once in the memory of each machine;
    trials must not change it. A class that extends this one defines `digest` and `learner`; by
    default it has no facts, decides no field and accepts any configuration.
    """

    @default
    def digest(self) -> str:
        """Fingerprint of everything that influences a trial: data, versions, seeds of evaluation.

        A study is only resumed or replayed with a problem of the same digest.
        """
        ...

    @default
    def facts(self) -> Mapping[str, Any]:
        """Further properties to record, by name, such as the unit and the sizes of the splits."""
        return {}

    @default
    def decided(self) -> Mapping[str, Sequence[Any]]:
        """The only values that this problem allows, by config field."""
        return {}

    def check(self, config: Config) -> None:
        """Checks that a configuration can be trained on this problem.

        Raises:
            InputError: If it cannot.
        """

    def learner(self, config: Config, role: Role, context: Context) -> Learner:
        """Makes the learner of one trial.

        Args:
            config: Hyperparameters of the trial.
            role: Purpose of the trial; a replicate may train on other splits than the search.
            context: Device and cores that the trial may use.
        """
        ...


def check_problem(problem: Any) -> None:
    """Checks that what a study opens is a problem.

    Raises:
        InputError: If it lacks members, or its facts cannot be recorded.
    """
    if lacking := [*missing(problem, OWN, Problem), *missing(problem, DEFAULTS, None)]:
        raise InputError(
            f"the study's open() gave a {type(problem).__name__} without {', '.join(lacking)}: "
            "expected an object with digest, facts, decided, check and learner; a class that "
            "extends orrery.Problem needs no more than digest and learner"
        )
    try:
        plain(dict(problem.facts))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the problem's facts cannot be recorded ({error}): expected texts and Python's own "
            "finite numbers by name"
        ) from None
