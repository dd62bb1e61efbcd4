"""Compares a trial's recorded metrics with those of training it again."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from analysis.markdown import table

TOLERANCE = 0.2
"""Maximum relative difference of a metric, as the median over epochs, that rounding may explain.

Measured on a CPU: random relative changes of the gradients by 1e-7, as a different order of
summation causes, move the metrics of GNNs on 3,000 molecules by up to 10 % in the median of 10
epochs, and by up to 40 % in single epochs; another seed moves them by 7 to 30 %. The metrics of
world models move by less than 0.001 %.
"""

WHY = "a GPU adds in no fixed order"

Epochs = Mapping[int, Mapping[str, float]]
"""Metrics of a trial: epoch -> metric name -> value."""


@dataclass(frozen=True)
class Numbers:
    """Recorded metrics of a trial together with those of the repeated training.

    Attributes:
        objective: Name of the metric that is shown.
        recorded: Recorded metrics of each epoch.
        now: Metrics of each epoch of the repeated training; epochs that it did not reach are
            missing.
        problem: Why epochs are missing; empty if none are.
        exact: True if the metrics must be bit-identical; otherwise each must agree within
            `TOLERANCE`.
    """

    objective: str
    recorded: Epochs
    now: Epochs
    problem: str = ""
    exact: bool = True

    def difference(self) -> str | None:
        """Describes how the metrics differ from the recorded ones; None if they agree."""
        first = self._first_difference()
        if self.exact or first is None or self.recorded.keys() - self.now.keys():
            return first
        name, apart = self._furthest()
        if apart <= TOLERANCE:
            return None
        far = f"is {apart:.0%} off" if apart < math.inf else "cannot be compared"
        return f"not the same within {TOLERANCE:.0%}: in the median epoch {name} {far} ({WHY})"

    def _first_difference(self) -> str | None:
        """Describes the first metric that is missing or not bit-identical; None without one."""
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
        """Returns the metric with the largest relative difference, as the median over epochs, and
        that difference."""
        pairs = [(before, self.now[epoch]) for epoch, before in self.recorded.items()]
        names = {name for pair in pairs for row in pair for name in row}
        off = {
            name: median(_apart(before.get(name), after.get(name)) for before, after in pairs)
            for name in sorted(names)
        }
        name = max(off, key=lambda name: off[name])
        return name, off[name]

    def text(self) -> str:
        """Returns a table of the objective by epoch, and a line on whether the metrics agree."""
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
        """Describes how exactly the metrics agree."""
        epochs, names = len(self.recorded), {n for row in self.recorded.values() for n in row}
        metrics = f"{len(names)} metric{'s' * (len(names) > 1)}"
        compared = f"{metrics} of {epochs} epoch{'s' * (epochs > 1)}"
        if self._first_difference() is None:
            return f"bit for bit the same, {compared}"
        name, apart = self._furthest()
        return (
            f"the same within {TOLERANCE:.0%}, {compared}: in the median epoch {name} is furthest "
            f"off, {100 * apart:.2g}% ({WHY})"
        )


def _apart(before: float | None, after: float | None) -> float:
    """Returns the relative difference of two numbers; infinite if one is missing or not finite."""
    if before is None or after is None:
        return math.inf
    if before == after:
        return 0.0
    apart = abs(after - before) / abs(before) if before else math.inf
    return apart if math.isfinite(apart) else math.inf


def _digits(value: float | None) -> str:
    """Formats a number with all of its significant digits."""
    return "none" if value is None else repr(value)
