"""Rules of early stopping that benchmarks/search.py compares, as objects that a replay asks.

The study's own rule, `engine.early_stopping.Halving`, stops a trial at a rung or lets it go on.
The others let trials wait at a rung until they are promoted; trials that wait at the end of the
search are over. Baselines take part in every comparison, and always go on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Protocol

from engine.early_stopping import Halving
from engine.rungs import FIRST_RUNG, REDUCTION, first_rung, rungs
from record.state import StudyState
from record.trial import Baseline, Trial


class Verdict(Enum):
    """What becomes of a trial after an epoch."""

    GO_ON = "it goes on"
    STOP = "it is over"
    WAIT = "it waits to be promoted"


@dataclass(frozen=True)
class Plan:
    """The size of a search.

    Attributes:
        trials: Number of trials.
        epochs: Number of epochs of a whole trial.
    """

    trials: int
    epochs: int


class Rule(Protocol):
    """A rule of early stopping, with the state of one search."""

    def verdict(self, trial: Trial) -> Verdict:
        """Decides on a trial after its latest epoch."""
        ...

    def promoted(self, proposed: int, under_way: Sequence[Trial]) -> int | None:
        """Returns the number of a waiting trial that goes on before any new one begins.

        Args:
            proposed: Number of trials that were proposed so far.
            under_way: Trials that run.
        """
        ...


class Whole:
    """The rule that stops no trial."""

    def __init__(self, state: StudyState, plan: Plan) -> None:
        del state, plan

    def verdict(self, trial: Trial) -> Verdict:
        """Lets every trial go on."""
        del trial
        return Verdict.GO_ON

    def promoted(self, proposed: int, under_way: Sequence[Trial]) -> None:
        """Promotes none, because none waits."""


class Stopping:
    """Asynchronous successive halving that stops trials, as the engine does.

    Args:
        state: State of the study.
        plan: Size of the search.
        share: Share of the epochs at the first rung; at least 1 epoch.
    """

    def __init__(self, state: StudyState, plan: Plan, share: float = FIRST_RUNG) -> None:
        self.halving = Halving(state, rungs(plan.epochs, share))

    def verdict(self, trial: Trial) -> Verdict:
        """Stops a trial that is behind the median of those that reached a rung before it."""
        return Verdict.STOP if self.halving.is_behind(trial) else Verdict.GO_ON

    def promoted(self, proposed: int, under_way: Sequence[Trial]) -> None:
        """Promotes none, because none waits."""


class Promotion:
    """Asynchronous successive halving that promotes trials (Li et al. 2020, algorithm 2).

    A trial waits at each rung. Whenever a slot is free, the best waiting trial of the highest
    rung goes on that is among the best 1 / REDUCTION of all trials that reached the rung.

    Args:
        state: State of the study.
        plan: Size of the search.
    """

    def __init__(self, state: StudyState, plan: Plan) -> None:
        self.state = state
        self.reached: dict[int, dict[int, float]] = {rung: {} for rung in rungs(plan.epochs)}
        self.waiting: dict[int, set[int]] = {rung: set() for rung in self.reached}

    def verdict(self, trial: Trial) -> Verdict:
        """Lets a trial wait at each rung."""
        if trial.epoch not in self.reached:
            return Verdict.GO_ON
        self.reached[trial.epoch][trial.number] = self.state.merit(trial.reports[-1])
        if isinstance(trial.role, Baseline):
            return Verdict.GO_ON
        self.waiting[trial.epoch].add(trial.number)
        return Verdict.WAIT

    def promoted(self, proposed: int, under_way: Sequence[Trial]) -> int | None:
        """Returns the best waiting trial of the highest rung that has one to promote."""
        del proposed, under_way
        for rung in sorted(self.reached, reverse=True):
            merits = self.reached[rung]
            best = sorted(merits, key=merits.__getitem__, reverse=True)
            able = [n for n in best[: len(best) // REDUCTION] if n in self.waiting[rung]]
            if able:
                self.waiting[rung].remove(able[0])
                return able[0]
        return None


class BestAfter:
    """The rule that trains all trials for a few epochs and then only the best ones to the end
    (Egele et al. 2023, https://arxiv.org/abs/2307.15422).

    Args:
        state: State of the study.
        plan: Size of the search.
        share: Share of the epochs after which trials are compared; at least 1 epoch.
        part: The best 1 / part of the trials, baselines not counted, are trained to the end.
    """

    def __init__(self, state: StudyState, plan: Plan, share: float, part: int) -> None:
        self.state = state
        self.trials = plan.trials
        self.epoch = first_rung(plan.epochs, share)
        self.count = plan.trials // part
        self.waiting: dict[int, float] = {}

    def verdict(self, trial: Trial) -> Verdict:
        """Lets a trial wait after the epoch of the comparison."""
        if trial.epoch != self.epoch or isinstance(trial.role, Baseline):
            return Verdict.GO_ON
        self.waiting[trial.number] = self.state.merit(trial.reports[-1])
        return Verdict.WAIT

    def promoted(self, proposed: int, under_way: Sequence[Trial]) -> int | None:
        """Returns the best waiting trial, once all trials have been compared."""
        is_early = proposed < self.trials or any(t.epoch < self.epoch for t in under_way)
        if is_early or not self.waiting or self.count == 0:
            return None
        self.count -= 1
        best = max(self.waiting, key=self.waiting.__getitem__)
        del self.waiting[best]
        return best


RULES: Mapping[str, Callable[[StudyState, Plan], Rule]] = {
    "none": Whole,
    "halving from epoch 3 on, promotion": Promotion,
    "halving from epoch 3 on, stopping": Stopping,
    "halving from epoch 2 on, stopping": partial(Stopping, share=2 / 15),
    "halving from epoch 1 on, stopping": partial(Stopping, share=0),
    "1 epoch, then the best quarter": partial(BestAfter, share=0, part=4),
    "3 epochs, then the best eighth": partial(BestAfter, share=FIRST_RUNG, part=8),
}
"""Name of a rule, for trials of 15 epochs -> makes it of the study's state and the plan of the
search."""
