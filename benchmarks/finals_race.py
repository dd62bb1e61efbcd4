"""Simulates the race of the finals: how many trainings it saves, and how often it drops the best.

    python benchmarks/finals_race.py

Six finalists, the one of the search's best and others behind it by some spreads of a training, are
trained with five seeds, one after the other. A row without any gap shows how often the best one
is dropped where that is easiest; the best possible saving has all but one dropped after two seeds.
"""

import sys
from collections.abc import Sequence

import numpy as np

from analysis.markdown import table
from benchmarks.command_line import Parser, exit_code, positive
from engine.race import losses

SEEDS = 5

GAPS: dict[str, tuple[float, ...]] = {
    "none": (0, 0, 0, 0, 0, 0),
    "the default one far behind": (0, 0.5, 0.5, 1, 1, 20),
    "a few near, others far": (0, 0.5, 1, 10, 20, 20),
    "3 apart": (0, 3, 6, 9, 12, 15),
    "10 apart": (0, 10, 20, 30, 40, 50),
    "all far": (0, 50, 50, 50, 50, 50),
}
"""Name of a case -> how far each finalist is behind the best, in spreads of a training."""

SPREADS: dict[str, tuple[float, ...]] = {
    "equal spreads": (1, 1, 1, 1, 1, 1),
    "the best one ten times as noisy": (10, 1, 1, 1, 1, 1),
    "another one ten times as noisy": (1, 1, 1, 1, 1, 10),
}
"""Name of a case -> the spread of each finalist over its seeds, for the rows without gaps."""


def simulated(
    gaps: Sequence[float], spreads: Sequence[float], studies: int
) -> tuple[float, float]:
    """Returns the share of trainings saved, and that of studies in which the best was dropped."""
    generator = np.random.default_rng(0)
    saved = wrong = 0
    for _ in range(studies):
        luck = generator.standard_normal((len(gaps), SEEDS)) * np.array(spreads)[:, None]
        results = dict(enumerate((luck - np.array(gaps)[:, None])[:, : SEEDS - 1].tolist()))
        found = losses(results, set(results))
        saved += sum(SEEDS - loss.seeds for loss in found.values())
        wrong += 0 in found
    return saved / (studies * SEEDS * len(gaps)), wrong / studies


def rows(studies: int) -> list[list[str]]:
    """Returns a row of the table for each case."""
    cases = [(f"{gap}, equal spreads", GAPS[gap], SPREADS["equal spreads"]) for gap in GAPS]
    cases += [(f"none, {name}", GAPS["none"], SPREADS[name]) for name in [*SPREADS][1:]]
    found = [(name, *simulated(gaps, spreads, studies)) for name, gaps, spreads in cases]
    return [[name, f"{saved:.0%}", f"{wrong:.1%}"] for name, saved, wrong in found]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    parser = Parser(__doc__)
    parser.add_defaulting("--studies", positive, 2000, "simulated studies of each case")
    typed = parser.parse_args(argv)
    header = ["gaps to the best, in spreads", "trainings saved", "best one dropped"]
    print(table(header, rows(typed.studies)))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
