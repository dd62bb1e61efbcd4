"""What a problem and a learner of one's own have to have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from guessing import Guessing, GuessingProblem

from datasets.errors import InputError
from record.trial import Role
from trainables.config import TrialConfig
from trainables.learner import Learner, Probe, Snapshot, check_learner
from trainables.problem import Context, Problem, check_problem


class Hill(Problem[TrialConfig]):
    """Extends `Problem` and sets what it has to, and one thing more."""

    def __init__(self, height: float) -> None:
        self.digest = f"a hill of {height}"  # pyright: ignore[reportAttributeAccessIssue]
        self.facts = {"height": height}  # pyright: ignore[reportAttributeAccessIssue]

    def learner(self, config: TrialConfig, role: Role, context: Context) -> Guessing:
        return Guessing(config.seed)


@dataclass(frozen=True)
class Plain(Problem[TrialConfig]):
    """Extends `Problem` as a dataclass does."""

    digest: str  # pyright: ignore[reportIncompatibleMethodOverride]

    def learner(self, config: TrialConfig, role: Role, context: Context) -> Guessing:
        return Guessing(config.seed)


class Hashed(Hill):
    """Computes its digest."""

    hashed = 0

    def __init__(self) -> None:
        """Has no facts."""

    @property
    def digest(self) -> str:
        self.hashed += 1
        return "dear"

    @digest.setter
    def digest(self, value: str) -> None: ...


def refused(check: Any, value: object) -> str:
    with pytest.raises(InputError) as error:
        check(value)
    return str(error.value)


def test_who_extends_problem_need_not_say_what_most_do_not() -> None:
    plain: Problem[Any] = Plain("of nothing")
    check_problem(plain)
    plain.check(TrialConfig())
    assert (plain.digest, plain.facts, plain.decided) == ("of nothing", {}, {})
    hill: Problem[Any] = Hill(8.0)
    check_problem(hill)
    assert (hill.digest, hill.facts) == ("a hill of 8.0", {"height": 8.0})


def test_a_problem_that_extends_nothing_is_one_too() -> None:
    check_problem(GuessingProblem())


def test_a_digest_is_not_computed_to_see_that_it_is_there() -> None:
    made = Hashed()
    check_problem(made)
    assert made.hashed == 0


@pytest.mark.parametrize("fact", [np.int64(80), float("nan"), np.zeros(2), object()])
def test_facts_that_cannot_be_recorded_are_refused_in_one_line(fact: Any) -> None:
    hill: Any = Hill(8.0)
    hill.facts = {"height": fact}
    with pytest.raises(InputError, match="the problem's facts cannot be recorded") as error:
        check_problem(hill)
    assert "\n" not in str(error.value)


def test_what_a_problem_lacks_is_said_in_one_line() -> None:
    class Bare:
        facts: Mapping[str, Any] = {}

        def check(self, config: TrialConfig) -> None: ...

    class Nameless(Problem[TrialConfig]): ...

    end = (
        ": expected an object with digest, facts, decided, check and learner; a class that "
        "extends orrery.Problem needs no more than digest and learner"
    )
    lacks = "the study's open() gave a {} without {}" + end
    nameless: type[Any] = Nameless
    assert refused(check_problem, Bare()) == lacks.format("Bare", "digest, learner, decided")
    assert refused(check_problem, nameless()) == lacks.format("Nameless", "digest, learner")
    nothing = lacks.format("NoneType", "digest, learner, facts, decided, check")
    assert refused(check_problem, None) == nothing


def test_what_a_learner_lacks_is_said_in_one_line() -> None:
    class Inherits(Learner):
        def advance(self, epoch: int) -> dict[str, float]:
            return {}

        def probe(self) -> Probe:
            return Probe(1.0, Snapshot({}, {}))

    check_learner(Guessing(0))
    inherits: type[Any] = Inherits
    assert refused(check_learner, inherits()) == (
        "learner() gave a Inherits without snapshot, restore: expected an object with advance, "
        "snapshot, restore and probe (docs/your-own-study.md)"
    )
    assert "gave a NoneType without advance, snapshot, restore, probe:" in refused(
        check_learner, None
    )
