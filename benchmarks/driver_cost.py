"""Measures what a study costs its driver when a hundred trials run at once.

    python benchmarks/driver_cost.py
    python benchmarks/driver_cost.py --trials 100 300 1000

Trials that learn nothing, each a process of Ray's, run in three ways: by Tune alone, as a function
that reports to nobody; and as a study with Optuna, scheduler, log, retention and MLflow, reported
once an epoch at a time and once five at a time. Each way and number of trials has a driver of its
own, one after the other. Its processor time is divided by the epochs; what grows with the number
of trials, as its memory might, grows from row to row.

    python benchmarks/driver_cost.py --asking 2000

Measures Optuna's share of it alone, without Ray, as a study grows: TPE looks at earlier trials
whenever one is asked for.
"""

import math
import random
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context

from benchmarks.command_line import Parser, exit_code, positive, positive_seconds
from benchmarks.driven_study import OBJECTIVE
from benchmarks.driver_ways import PLAIN, WAYS, Load, measured
from benchmarks.growing_table import GrowingTable
from benchmarks.stub_trial import StubConfig
from engine.search_memory import Draw, SearchMemory
from engine.space import Space
from record.trial import Report, Status, Trial
from record.values import plain

COLUMNS = (
    "way",
    "trials",
    "epochs",
    "wall time, s",
    "driver CPU an epoch, ms",
    "to plain Tune",
    "asking Optuna a trial, ms",
    "driver memory, MiB",
)


def compare(load: Load, table: GrowingTable) -> None:
    """Runs a load in all ways, each in a process of its own; adds their rows to a table."""
    plain_ms = math.nan
    for way in WAYS:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            done = pool.submit(measured, way, load).result()
        epoch_ms = 1000 * done.processor / done.epochs
        plain_ms = epoch_ms if way == PLAIN else plain_ms
        asking = "" if done.asking is None else f"{1000 * done.asking / load.trials:.1f}"
        counts = f"{load.trials:,}", f"{done.epochs:,}", f"{done.wall:.0f}"
        cost = f"{epoch_ms:.1f}", f"{epoch_ms / plain_ms:.2f}", asking, f"{done.memory:,.0f}"
        table.add([way, *counts, *cost])


def asked(trials: int, at_once: int) -> Iterator[tuple[int, float]]:
    """Asks Optuna for trials and ends them at random, half of them early.

    Yields:
        After each tenth of them: how many there were, and the ms of processor time that asking
        for one of the last took.
    """
    dice, tenth, seconds = random.Random(0), max(1, trials // 10), 0.0
    memory = SearchMemory(Space.of(StubConfig, "family", {}), "tpe", 0, OBJECTIVE)
    running: list[Draw] = []
    for number in range(1, trials + 1):
        begun = time.thread_time()
        running.append(memory.ask())
        seconds += time.thread_time() - begun
        if len(running) == at_once:
            draw = running.pop(dice.randrange(at_once))
            memory.tell(ended(draw, "finished" if dice.random() < 0.5 else "pruned"))
        if number % tenth == 0:
            yield number, 1000 * seconds / tenth
            seconds = 0.0


def ended(draw: Draw, status: Status) -> Trial:
    """Makes a trial that has come to its end, its level reached or, stopped early, half of it."""
    config = plain(asdict(draw.config))
    value = config["level"] if status == "finished" else config["level"] / 2
    report = Report(epoch=1, unix_ms=0, memory_gib=0.0, metrics={OBJECTIVE: value})
    return Trial(draw.role.index, config, draw.drawn, draw.role, status, (report,))


def main(argv: Sequence[str]) -> None:
    """Prints a row for each way and number of trials, or for each tenth that Optuna was asked for.

    Raises:
        InputError: If the options make no sense.
    """
    typed = _parsed(argv)
    if typed.asking:
        table = GrowingTable(("trials so far", "asking Optuna, ms"))
        for number, milliseconds in asked(typed.asking, typed.max_concurrent):
            table.add([f"{number:,}", f"{milliseconds:.1f}"])
        return
    table = GrowingTable(COLUMNS)
    for trials in typed.trials:
        compare(Load(trials, typed.max_concurrent, typed.epochs, typed.epoch_seconds), table)


def _parsed(argv: Sequence[str]) -> Namespace:
    """Reads the command line."""
    parser = Parser(__doc__)
    parser.add_numbers("--trials", [200], "trials, all told")
    parser.add_defaulting("--max-concurrent", positive, 100, "trials at once")
    parser.add_defaulting("--epochs", positive, 20, "epochs of each trial")
    parser.add_defaulting("--epoch-seconds", positive_seconds, 2.0, "how long each takes")
    parser.add_argument(
        "--asking", type=positive, metavar="N", help="ask Optuna for N trials, and do nothing else"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_code(main))
