"""How far the ranks of configurations after a few epochs agree with those at the end."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from analysis.markdown import table
from benchmarks.learning_curves import Curve
from engine.rungs import rungs

CANDIDATES = 16
"""Configurations among which the best one is looked for."""

DRAWS = 2_000
"""Sets of candidates that are drawn."""


def ranks_table(curves: Sequence[Curve]) -> str:
    """Tabulates the agreement of early ranks with the last ones, by schedule and epoch.

    The last row of a schedule says what another seed makes of the ranks at the end, which no early
    look can beat by much.
    """
    whole = [curve for curve in curves if curve.is_whole]
    first, second = min(c.seed for c in whole), max(c.seed for c in whole)
    rows = []
    for schedule in sorted({curve.config["schedule"] for curve in whole}):
        chosen = [c for c in whole if c.config["schedule"] == schedule]
        after = np.array([c.objective for c in chosen if c.seed == first]).T
        epochs = len(after)
        looks = sorted({1, *rungs(epochs)})
        rows += [[schedule, str(n), *_agreement(after[n - 1], after[-1])] for n in looks]
        if second > first:
            rows.append([schedule, f"{epochs}, another seed", *_agreement(*_pairs(chosen, first))])
    caption = (
        "Agreement of the ranks after an epoch with those at the end: Spearman's correlation over "
        "all configurations and over the better half of them, and in how many of "
        f"{DRAWS:,} random sets of {CANDIDATES} the best one is among the best quarter early on."
    )
    header = ["schedule", "after epoch", "Spearman", "better half", "best in the best quarter"]
    return f"{table(header, rows)}\n\n{caption}\n"


def _pairs(curves: Sequence[Curve], first: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the last objectives with another seed and with the first one."""
    last = {(curve.number, curve.seed): curve.objective[-1] for curve in curves}
    numbers = [n for n, seed in last if seed != first and (n, first) in last]
    others = [value for (n, seed), value in last.items() if seed != first and (n, first) in last]
    return np.array(others), np.array([last[n, first] for n in numbers])


def _agreement(early: np.ndarray, late: np.ndarray) -> list[str]:
    better = late >= np.median(late)
    correlations = [_spearman(early, late), _spearman(early[better], late[better])]
    return [*(f"{each:.2f}" for each in correlations), f"{_recall(early, late):.0%}"]


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def _recall(early: np.ndarray, late: np.ndarray) -> float:
    """Returns how often the best of some candidates is among the best quarter of them early on."""
    generator = np.random.default_rng(0)
    count = min(CANDIDATES, len(late))
    drawn = np.stack([generator.permutation(len(late))[:count] for _ in range(DRAWS)])
    best = late[drawn].argmax(axis=1)
    ahead = (early[drawn] > early[drawn][np.arange(DRAWS), best, None]).sum(axis=1)
    return float(np.mean(ahead < max(1, count // 4)))
