"""Steps a second of CarRacing, drawn by Gymnasium and from arrays; and seconds to record drives.

    python benchmarks/car_racing_drawing.py

First both simulators take the same steps on one core, a track a round, in turns; their rewards are
compared before. Then the drives of a study are recorded with either drawing, as many as there were
by default before and as there are now, in processes of one thread that have loaded everything.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.markdown import table
from benchmarks.command_line import Parser, exit_code, positive
from benchmarks.rounds import Disagreement, ratios, spread, take_turns, verdict
from datasets.car_racing import SIMULATORS, ZOOM_SECONDS, Drawing, Drive, record, record_episodes
from datasets.driving import EPISODES, SEED
from datasets.parallel import ParallelMap

BEFORE = 64
"""Number of episodes that were recorded by default before."""

WANTED = 6
"""Ratio of the steps a second that the project asks of itself."""

SIZE = 32
"""Pixels on a side of a recorded frame."""


def check(steps: int) -> None:
    """Checks that a drive is the same with either drawing.

    Raises:
        Disagreement: If rewards or actions differ.
    """
    one, other = (record_episodes(Drive("pursuit", 0, steps, SIZE, each)) for each in SIMULATORS)
    for name in ("actions", "rewards"):
        if not np.array_equal(getattr(one, name), getattr(other, name)):
            raise Disagreement(f"the {name} of a drive depend on who draws it")


def stepping(drawing: Drawing, steps: int) -> Callable[[], float]:
    """Returns what drives on another track whenever it is called, and returns steps a second."""
    simulator = SIMULATORS[drawing]().unwrapped
    seeds = count()

    def drive() -> float:
        seed = next(seeds)
        actions = record_episodes(Drive("pursuit", seed, steps, SIZE, "arrays")).actions
        simulator.reset(seed=seed)
        simulator.t = ZOOM_SECONDS
        begun = time.perf_counter()
        for action in actions:
            simulator.step(action)
        return len(actions) / (time.perf_counter() - begun)

    return drive


def recording(drawing: Drawing, episodes: int, steps: int, parallel: ParallelMap) -> float:
    """Records the drives of a study and returns the seconds that it took."""
    begun = time.perf_counter()
    record("pursuit", episodes, steps, SIZE, drawing, SEED, parallel)
    return time.perf_counter() - begun


def stepping_rows(rates: Mapping[str, list[float]]) -> list[list[str]]:
    """Rows of a table: drawing, steps a second at best and in general, ratio to Gymnasium's."""
    own = rates["gymnasium"]
    return [
        [name, f"{max(each):,.0f}", spread(each), spread(ratios(each, own))]
        for name, each in rates.items()
    ]


def recording_rows(numbers: Sequence[int], steps: int, parallel: ParallelMap) -> list[list[str]]:
    """Rows of a table: episodes, seconds with either drawing, ratio."""
    for drawing in SIMULATORS:
        recording(drawing, 4, 1, parallel)  # every process loads what it needs
    rows = []
    for episodes in numbers:
        arrays, own = (recording(each, episodes, steps, parallel) for each in SIMULATORS)
        rows.append([str(episodes), f"{own:.1f}", f"{arrays:.1f}", f"{own / arrays:.1f}"])
    return rows


def main(argv: Sequence[str]) -> None:
    """Prints the tables."""
    typed = _parsed(argv)
    threadpool_limits(1)
    check(typed.steps)
    sides = {each: stepping(each, typed.steps) for each in SIMULATORS}
    rates = take_turns(sides, typed.rounds)
    print(f"steps on one core, {typed.rounds} tracks, {typed.steps} steps on each\n")
    header = ["drawing", "steps a second, best", "median (smallest..largest)", "ratio"]
    print(table(header, stepping_rows(rates)), end="\n\n")
    print(verdict("arrays", median(ratios(rates["arrays"], rates["gymnasium"])), WANTED))
    print(f"\nseconds to record episodes of {typed.steps} frames in {typed.processes} processes\n")
    with ProcessPoolExecutor(
        typed.processes, get_context("spawn"), threadpool_limits, (1,)
    ) as pool:
        rows = recording_rows(typed.episodes, typed.steps, pool.map)
    print(table(["episodes", "gymnasium", "arrays", "ratio"], rows))


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_defaulting("--steps", positive, 160, "steps of a drive")
    parser.add_rounds(9, "tracks that are driven on")
    parser.add_numbers("--episodes", [BEFORE, EPISODES], "numbers of drives that are recorded")
    parser.add_defaulting("--processes", positive, 2, "that record")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
