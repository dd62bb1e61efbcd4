"""After which epochs trials are compared, and the worse half is stopped: successive halving."""

FIRST_RUNG = 1 / 5
"""Share of its epochs after which a trial is first looked at; then after 2/5 and 4/5."""

REDUCTION = 2
"""At each rung the better half goes on. With few trials a third would leave only the baselines."""


def first_rung(epochs: int) -> int:
    """The first of them, for trials of so many epochs."""
    return max(1, round(epochs * FIRST_RUNG))


def rungs(epochs: int) -> list[int]:
    """All of them, before the last epoch.

    >>> rungs(15)
    [3, 6, 12]
    """
    found = []
    rung = first_rung(epochs)
    while rung < epochs:
        found.append(rung)
        rung *= REDUCTION
    return found
