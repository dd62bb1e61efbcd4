"""The rungs of successive halving: epochs after which trials are compared and may be stopped."""

FIRST_RUNG = 1 / 5
"""Fraction of a trial's epochs at the first rung, unless the study says another one; further rungs
follow at 2/5 and 4/5."""

REDUCTION = 2
"""Reduction factor: the best 1 / REDUCTION of the trials at a rung continue.

With a factor of 3, few trials besides the baselines would be left in a small study.
"""


def first_rung(epochs: int, share: float = FIRST_RUNG) -> int:
    """Returns the epoch of the first rung, for trials of `epochs` epochs; at least 1.

    Args:
        epochs: Epochs of a trial.
        share: Fraction of them at the first rung.
    """
    return max(1, round(epochs * share))


def rungs(epochs: int, share: float = FIRST_RUNG) -> list[int]:
    """Returns the epochs of all rungs, which lie before the last epoch.

    >>> rungs(15)
    [3, 6, 12]

    Args:
        epochs: Epochs of a trial.
        share: Fraction of them at the first rung.
    """
    found = []
    rung = first_rung(epochs, share)
    while rung < epochs:
        found.append(rung)
        rung *= REDUCTION
    return found
