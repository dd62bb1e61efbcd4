"""The recorded numbers of a trial beside those that it gives when it is trained again."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from analysis.markdown import table

TOLERANCE = 0.2
"""Relative difference of a metric, in the median of its epochs, that rounding may explain.

Measured on a CPU, since no GPU was at hand: gradients changed at random by 1e-7 of themselves, as
by another order of sums, move the metrics of GNNs on 3,000 molecules by up to 10 % in the median
of 10 epochs, and in single epochs by up to 40 %; another seed moves them by 7 to 30 %. Those of
world models move by less than 0.001 %.
"""

WHY = "a GPU adds in no fixed order"

Epochs = Mapping[int, Mapping[str, float]]
"""Epoch -> metric -> value."""


@dataclass(frozen=True)
class Numbers:
    """What was recorded of a trial beside what it gives now.

    Attributes:
        objective: The metric that is shown.
        recorded: As they were recorded.
        now: As it is now; without the epochs that there are no more.
        problem: Why there are none; empty if all are there.
        exact: Whether they have to be the same to the last bit; else each metric has to be near,
            see `TOLERANCE`.
    """

    objective: str
    recorded: Epochs
    now: Epochs
    problem: str = ""
    exact: bool = True

    def difference(self) -> str | None:
        """What is not as it was; None if all is."""
        first = self._first_difference()
        if self.exact or first is None or self.recorded.keys() - self.now.keys():
            return first
        name, apart = self._furthest()
        if apart <= TOLERANCE:
            return None
        far = f"is {apart:.0%} off" if apart < math.inf else "cannot be compared"
        return f"not the same within {TOLERANCE:.0%}: in the median epoch {name} {far} ({WHY})"

    def _first_difference(self) -> str | None:
        """The first number that is not the same to the last bit, or not there."""
        for epoch, before in sorted(self.recorded.items()):
            if epoch not in self.now:
                return f"there is no epoch {epoch} now: {self.problem}"
            after = self.now[epoch]
            for name in sorted({*before, *after}, key=lambda name: (name != self.objective, name)):
                if before.get(name) != after.get(name):
                    return (
                        f"they first differ in epoch {epoch}: {name} {_digits(before.get(name))} "
                        f"recorded, {_digits(after.get(name))} now"
                    )
        return None

    def _furthest(self) -> tuple[str, float]:
        """The metric that is furthest off in the median of the epochs, and how far."""
        pairs = [(before, self.now[epoch]) for epoch, before in self.recorded.items()]
        names = {name for pair in pairs for row in pair for name in row}
        off = {
            name: median(_apart(before.get(name), after.get(name)) for before, after in pairs)
            for name in sorted(names)
        }
        name = max(off, key=lambda name: off[name])
        return name, off[name]

    def text(self) -> str:
        """The objective of every epoch, and what there is to say."""
        rows = [
            [
                str(epoch),
                _digits(before.get(self.objective)),
                _digits(self.now.get(epoch, {}).get(self.objective)),
            ]
            for epoch, before in sorted(self.recorded.items())
        ]
        shown = table(["epoch", f"{self.objective} recorded", "now"], rows)
        return f"\n{shown}\n\nnumbers: {self.difference() or self._same()}"

    def _same(self) -> str:
        """That all is as it was, and how exactly."""
        epochs, names = len(self.recorded), {n for row in self.recorded.values() for n in row}
        compared = f"{len(names)} metrics of {epochs} epoch{'s' * (epochs > 1)}"
        if self._first_difference() is None:
            return f"bit for bit the same, {compared}"
        name, apart = self._furthest()
        return (
            f"the same within {TOLERANCE:.0%}, {compared}: in the median epoch {name} is furthest "
            f"off, {100 * apart:.2g}% ({WHY})"
        )


def _apart(before: float | None, after: float | None) -> float:
    """Relative difference of two numbers; infinite where one is none, or not finite."""
    if before is None or after is None:
        return math.inf
    if before == after:
        return 0.0
    apart = abs(after - before) / abs(before) if before else math.inf
    return apart if math.isfinite(apart) else math.inf


def _digits(value: float | None) -> str:
    """As many as tell a number from every other one."""
    return "none" if value is None else repr(value)
