"""Steps of CarRacing a second that controllers drive, on one core and on several.

    python benchmarks/controller_throughput.py

Every side drives the same cars, on tracks of its own each round, in turns: by a linear controller
of what a convolutional vision and a memory of the default sizes, not trained, make of the frames
of Gymnasium's own drawing or of that from arrays, which draws a frame for each action alone; and
straight on without frames, which is the simulator's own time. Each process has one thread.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing import get_context

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.markdown import table
from benchmarks.command_line import Parser, exit_code, positive
from benchmarks.rounds import ratios, spread, take_turns
from datasets.car_racing import Drawing
from datasets.racing import Rules, StraightOn, drive
from trainables.controller_config import ControllerConfig
from trainables.perception import fresh_memory, fresh_vision
from trainables.steering import Controllers, Senses

SIZE = 32
"""Pixels on a side of what the vision sees."""


@dataclass(frozen=True)
class Side:
    """What is measured.

    Attributes:
        drawing: Who draws the frames; None: nobody, and nothing steers by them.
        repeat: Steps that an action is kept up for.
    """

    drawing: Drawing | None
    repeat: int


SIDES = {
    "Gymnasium's drawing, an action a step": Side("gymnasium", 1),
    "from arrays, an action a step": Side("arrays", 1),
    "from arrays, an action in two steps": Side("arrays", 2),
    "from arrays, an action in four steps": Side("arrays", 4),
    "no frames, no controller": Side(None, 4),
}
"""Rows of the table, the first of which the others are compared with."""


def driven(side: Side, steps: int, seeds: Sequence[int]) -> int:
    """Drives a car from each seed at once; returns the steps that they took in all."""
    rules = Rules(
        SIZE if side.drawing else 0, steps, side.repeat, drawing=side.drawing or "arrays"
    )
    if side.drawing is None:
        return sum(each.steps for each in drive(StraightOn(), seeds, rules))
    config = ControllerConfig()
    memory = fresh_memory(config.remembering, config.code)
    senses = Senses(fresh_vision(config.seeing, SIZE), memory)
    generator = np.random.default_rng(seeds[0])
    weights = 0.1 * generator.normal(size=(len(seeds), senses.parameters))
    return sum(each.steps for each in drive(Controllers(senses, weights), seeds, rules))


def rate(pool: Executor, processes: int, side: Side, steps: int, cars: int) -> Callable[[], float]:
    """Returns what drives on other tracks whenever it is called, and returns steps a second."""
    numbers = count()

    def measure() -> float:
        firsts = [1000 * next(numbers) for _ in range(processes)]
        parts = [range(first, first + cars) for first in firsts]
        begun = time.perf_counter()
        found = sum(pool.map(partial(driven, side, steps), parts))
        return found / (time.perf_counter() - begun)

    return measure


def rows(rates: Mapping[str, list[float]], processes: Sequence[int]) -> list[list[str]]:
    """Rows of the table: side; for each number of processes, steps a second and their ratio to
    those of the first side on as many."""
    first = next(iter(SIDES))
    return [
        [name]
        + [
            cell
            for number in processes
            for found, own in [(rates[_key(name, number)], rates[_key(first, number)])]
            for cell in (spread(found), spread(ratios(found, own)))
        ]
        for name in SIDES
    ]


def _key(name: str, processes: int) -> str:
    return f"{name}, {processes}"


def main(argv: Sequence[str]) -> None:
    """Prints the table."""
    typed = _parsed(argv)
    with ExitStack() as stack:
        sides = {}
        for number in typed.processes:
            pool = ProcessPoolExecutor(
                number, get_context("spawn"), threadpool_limits, initargs=(1,)
            )
            stack.enter_context(pool)
            for name, side in SIDES.items():
                sides[_key(name, number)] = rate(pool, number, side, typed.steps, typed.cars)
        rates = take_turns(sides, typed.rounds)
    print(f"{typed.cars} cars at once in each process, {typed.steps} steps each at most\n")
    cores = [f"{number} process{'es' * (number > 1)}" for number in typed.processes]
    header = ["drawing", *(part for each in cores for part in (f"{each}: steps/s", "ratio"))]
    print(table(header, rows(rates, typed.processes)))


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_defaulting("--steps", positive, 200, "steps of a drive")
    parser.add_defaulting("--cars", positive, 8, "cars that a process drives at once")
    parser.add_numbers("--processes", [1, 2], "numbers of processes")
    parser.add_rounds(5, "tracks of each car")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
