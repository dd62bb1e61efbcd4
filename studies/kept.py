"""Which trials keep a checkpoint: disk use is bounded, whatever the number of trials."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from studies.checkpoints import Checkpoints


@dataclass(frozen=True, order=True)
class Finished:
    """A trial that used its whole budget; orders by what it reached.

    Attributes:
        value: The objective; of equal ones the later trial counts as the better, as in the
            analyses.
        number: In the study.
        group: Its value of the compared field.
        baseline: Whether everything else is compared with it.
        final: Whether it is one of the finals.
    """

    value: float
    number: int
    group: Any
    baseline: bool
    final: bool = False


def kept(finished: Iterable[Finished], count: int) -> set[int]:
    """The trials that keep their last checkpoint, which is the one that the objective is of: the
    best `count` of the search, and what the analyses look at, the baselines, the best of each
    group, and the finals."""
    finished = list(finished)
    finals = {trial.number for trial in finished if trial.final}
    searched = [trial for trial in finished if not trial.final]
    ascending = sorted(searched, key=lambda trial: (trial.value, trial.number))
    best_of_group = {trial.group: trial for trial in ascending}
    baselines = [trial for trial in ascending if trial.baseline]
    best = ascending[len(ascending) - min(count, len(ascending)) :]
    return finals | {trial.number for trial in (*best, *best_of_group.values(), *baselines)}


def remove_others(
    checkpoints: Checkpoints, ended: Iterable[int], finished: Sequence[Finished], count: int
) -> None:
    """Of ended trials, removes the checkpoints that are not kept.

    Args:
        checkpoints: Of the study.
        ended: The trials to look at.
        finished: All that finished.
        count: See `kept`.
    """
    staying = kept(finished, count)
    for number in ended:
        checkpoints.keep(number, 1 if number in staying else 0)
