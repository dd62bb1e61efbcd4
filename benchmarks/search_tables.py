"""What replayed searches came to, as tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.markdown import table
from benchmarks.replayed_search import Replay

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares of a budget after which searches are compared."""

UNIT = 1_000
"""A regret is printed in thousandths of the objective."""


@dataclass(frozen=True)
class Kind:
    """A kind of search.

    Attributes:
        sampler: How configurations are chosen.
        rule: Rule of early stopping.
        schedule: Learning-rate schedule: ``searched`` or ``constant``.
        trials: Number of trials.
    """

    sampler: str
    rule: str
    schedule: str
    trials: int

    @property
    def named(self) -> tuple[str, str, str]:
        """Everything but the number of trials."""
        return self.sampler, self.rule, self.schedule


@dataclass(frozen=True)
class Searched:
    """Searches of one kind, each in an order of its own."""

    kind: Kind
    replays: Sequence[Replay]

    @property
    def minutes(self) -> float:
        """Mean time of a whole search."""
        return float(np.mean([replay.seconds for replay in self.replays])) / 60

    def regrets(self, best: float, seconds: float = np.inf) -> np.ndarray:
        """Returns what each search lacks to the best value within a time, (orders,); NaN where
        nothing was trained to its end."""
        return best - np.array([replay.best(seconds) for replay in self.replays])


def whole_table(found: Sequence[Searched], best: float) -> str:
    """Tabulates minutes and regret of whole searches, by number of trials."""
    trials = sorted({each.kind.trials for each in found})
    kinds = list(dict.fromkeys(each.kind.named for each in found))
    by_kind = {(each.kind.named, each.kind.trials): each for each in found}
    rows = [
        [*kind, *(cell for n in trials for cell in _whole(by_kind[kind, n], best))]
        for kind in kinds
    ]
    heads = [head for n in trials for head in (f"{n} trials: min", "regret")]
    caption = (
        "Whole searches: minutes, and mean regret in thousandths of the objective ± its standard "
        "error over the orders."
    )
    return f"{table([*HEADER, *heads], rows)}\n\n{caption}"


HEADER = ("sampler", "early stopping", "schedule")


def _whole(searched: Searched, best: float) -> tuple[str, str]:
    return f"{searched.minutes:.1f}", _shown(searched.regrets(best))


def budget_table(found: Sequence[Searched], best: float, trials: int) -> str:
    """Tabulates the regret after shares of a budget, of searches of some number of trials."""
    chosen = [each for each in found if each.kind.trials == trials]
    budget = next(e for e in chosen if e.kind.rule == "none").minutes
    rows = [
        [*each.kind.named, *(_shown(each.regrets(best, 60 * budget * part)) for part in SHARES)]
        for each in chosen
    ]
    heads = [f"{part:g} of the budget" for part in SHARES]
    caption = (
        f"Searches of {trials} trials: mean regret in thousandths of the objective ± its standard "
        f"error after shares of {budget:.0f} minutes, which a search without early stopping "
        "takes. A search that is over by then has no more to find."
    )
    return f"{table([*HEADER, *heads], rows)}\n\n{caption}"


def _shown(regrets: np.ndarray) -> str:
    """Formats a mean with its standard error; a dash if a tenth of the searches found nothing."""
    known = regrets[np.isfinite(regrets)] * UNIT
    if len(known) < 0.9 * len(regrets):
        return "—"
    error = known.std(ddof=1) / len(known) ** 0.5 if len(known) > 1 else 0.0
    return f"{known.mean():.2f} ± {error:.2f}"
