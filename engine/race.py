"""The race of the finals: which finalists can no longer become the champion, seed by seed.

After each round, in which every finalist was trained with one more fresh seed, each is compared
with the one then leading by a one-sided t-test of their means. A finalist that is significantly
worse is dropped: it is trained no more.

The degrees of freedom are those of Welch (1947, https://doi.org/10.1093/biomet/34.1-2.28), so that
spreads may differ. After two seeds a spread may be small by mere chance, which is what a false
alarm is made of; therefore none counts for less than the mean spread of all, which only makes
dropping rarer. The level is spent over the rounds, however many may follow: a quarter of it after
two seeds and after three, and less later. `benchmarks/finals_race.py` simulates how rarely this
drops the best finalist and how many trainings it saves. A t-test of so few values keeps its level
where spreads differ, or where luck is skewed, but not both: with one finalist ten times as noisy
and as skewed as an exponential distribution, up to one study of five drops the best one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, variance

from scipy import stats

from analysis.comparison import LEVEL

FIRST = 2
"""Number of seeds after which finalists are compared for the first time; one has no spread."""

Results = Sequence[float | None]
"""Results of a finalist's trainings, in the order of the seeds; None for one that failed."""


@dataclass(frozen=True)
class Loss:
    """Why a finalist was dropped.

    Attributes:
        leader: Number of the finalist that led.
        seeds: Number of seeds that both were trained with.
        mean: Mean result of the dropped finalist.
        best: Mean result of the leader.
        p: Probability of a difference at least this large between equal finalists.
    """

    leader: int
    seeds: int
    mean: float
    best: float
    p: float

    @property
    def level(self) -> float:
        """The level of the test in this round."""
        return level_after(self.seeds)


def level_after(seeds: int) -> float:
    """Returns the level of the test after a number of seeds; all of them add up to `LEVEL`."""
    return LEVEL * (seeds - 1) / 2**seeds


def losses(
    results: Mapping[int, Results], droppable: Collection[int], dropped: Collection[int] = ()
) -> dict[int, Loss]:
    """Goes through all complete rounds, in order, and returns who is dropped in them.

    Those that were dropped before take part until then, so that earlier rounds come out as they
    did; where they do not, because finalists were added since, a drop stands all the same.

    Args:
        results: Number of a finalist -> its results so far, in which a greater one is better. All
            finalists have the same seeds.
        droppable: Numbers of the finalists that may be dropped.
        dropped: Numbers of the finalists that were dropped before; they are not returned.
    """
    found: dict[int, Loss] = {}
    seeds, remaining = FIRST, _with(results, FIRST, dropped)
    while remaining and seeds <= min(map(len, remaining.values())):
        lost = _round({number: got[:seeds] for number, got in remaining.items()})
        found |= {n: loss for n, loss in lost.items() if n in droppable or n in dropped}
        left = {number: got for number, got in remaining.items() if number not in found}
        seeds, remaining = seeds + 1, _with(left, seeds + 1, dropped)
    return {number: loss for number, loss in found.items() if number not in dropped}


def _with(
    results: Mapping[int, Results], seeds: int, dropped: Collection[int]
) -> Mapping[int, Results]:
    """Returns the results without dropped finalists that have fewer than this number of seeds, for
    which no round waits."""
    return {n: got for n, got in results.items() if n not in dropped or len(got) >= seeds}


def _round(results: Mapping[int, Results]) -> dict[int, Loss]:
    """Returns the finalists that are significantly worse than the leader of a round.

    Those of which a training failed are left out: they neither lead nor lose.
    """
    whole = {n: [x for x in got if x is not None] for n, got in results.items()}
    whole = {n: got for n, got in whole.items() if len(got) == len(results[n])}
    if not whole:
        return {}
    leader = max(whole, key=lambda number: mean(whole[number]))
    least = mean(map(variance, whole.values()))
    found = {
        number: Loss(
            leader, len(got), mean(got), mean(whole[leader]), _p(whole[leader], got, least)
        )
        for number, got in whole.items()
    }
    return {number: loss for number, loss in found.items() if loss.p < loss.level}


def _p(better: Sequence[float], worse: Sequence[float], least: float) -> float:
    """Returns the p-value of a difference of means between results of equal number.

    Args:
        better: Results with the higher mean.
        worse: Results with the lower mean.
        least: Lower bound of the variances.
    """
    seeds, difference = len(better), mean(better) - mean(worse)
    variances = variance(better), variance(worse)
    error = (sum(max(each, least) for each in variances) / seeds) ** 0.5
    if error == 0:
        return float(difference <= 0)  # nothing depends on the seed: a difference is certain
    squares = sum(each**2 for each in variances)
    freedom = (seeds - 1) * (sum(variances) ** 2 / squares if squares else 1.0)
    return float(stats.t.sf(difference / error, freedom))
