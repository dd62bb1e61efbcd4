"""Fits whose scores become the rows of a table, several fits at a time.

An interrupted run is continued by its own command: a fit that has its row is not repeated, one
that was under way goes on after its last epoch.
"""

import csv
import hashlib
import json
import multiprocessing
import shutil
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, get_type_hints

import torch
from rich.console import Console

from benchmarks.command_line import positive
from datasets.files import put_in_place
from datasets.typed_paths import typed_path
from trainables.checkpoint import FILE, load, save
from trainables.config import FitConfig
from trainables.fit import Epoch, Task, fit
from trainables.learner import Snapshot

Key = tuple[str, str, str]
Config = TypeVar("Config", bound=FitConfig)


@dataclass(frozen=True)
class Fit(Generic[Config]):
    """One fit to make.

    Attributes:
        experiment: What it is for.
        split: Of the data; and which data, where a table holds several.
        config: Hyperparameters, seed included.
    """

    experiment: str
    split: str
    config: Config

    @property
    def key(self) -> Key:
        """What tells a fit from every other."""
        return self.experiment, self.split, json.dumps(asdict(self.config), sort_keys=True)


class Row(Protocol):
    """What came of a fit: a dataclass of texts and numbers."""

    @property
    def key(self) -> Key:
        """As `Fit.key`."""
        ...

    @property
    def summary(self) -> str:
        """What is said when it is there."""
        ...


AnyRow = TypeVar("AnyRow", bound=Row)


class Table(Generic[AnyRow]):
    """Rows in a CSV file.

    Args:
        path: The file.
        kind: Class of the rows.
        order: Sorts them.
    """

    def __init__(self, path: Path, kind: type[AnyRow], order: Callable[[AnyRow], Any]) -> None:
        self.path = path
        self.kind = kind
        self.order = order

    def read(self) -> list[AnyRow]:
        """The rows so far; none if there is no file."""
        if not self.path.is_file():
            return []
        kinds = get_type_hints(self.kind)
        with self.path.open(newline="", encoding="utf-8") as file:
            return [
                self.kind(**{name: kinds[name](value) for name, value in row.items()})
                for row in csv.DictReader(file)
            ]

    def write(self, rows: Iterable[AnyRow]) -> None:
        """Writes all rows, sorted, beside and then renamed."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".partial")
        with beside.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, [*get_type_hints(self.kind)], lineterminator="\n")
            table.writeheader()
            table.writerows(vars(row) for row in sorted(rows, key=self.order))
        put_in_place(beside, self.path)


def trained(
    job: Fit[Any], task: Task[Any], device: torch.device, fingerprint: str, cache_folder: Path
) -> tuple[Epoch, float]:
    """The last epoch of a fit, and the seconds that it took, whatever else the machine did.

    Goes on from what an interrupted run left in the cache folder.

    Args:
        job: The fit.
        task: What it learns.
        device: Where it trains.
        fingerprint: Of the data.
        cache_folder: Where its state is kept until it is done.
    """
    digest = hashlib.sha256(repr((job.key, fingerprint)).encode()).hexdigest()[:16]
    folder = cache_folder / "fits" / digest
    folder.mkdir(parents=True, exist_ok=True)
    *_, last = _timed_epochs(task, job.config, device, folder)
    shutil.rmtree(folder)
    return last


def _timed_epochs(
    task: Task[Any], config: FitConfig, device: torch.device, folder: Path
) -> Iterator[tuple[Epoch, float]]:
    """The epochs that are left, the last one at least, each with the seconds so far; leaves in the
    folder what it takes to go on."""
    done, before, snapshot = _left_in(folder)
    started = time.perf_counter()
    for epoch in fit(task, config, device, done, snapshot):
        seconds = before + time.perf_counter() - started
        if epoch.number < config.epochs:
            state = {"epoch": epoch.number, "seconds": seconds, **vars(epoch.snapshot())}
            save(folder, state)
        yield epoch, seconds


def _left_in(folder: Path) -> tuple[int, float, Snapshot | None]:
    """What an interrupted run left in a folder: epochs, their seconds, and what to go on from."""
    if not (folder / FILE).is_file():
        return 0, 0.0, None
    state = load(folder)
    return state["epoch"], state["seconds"], Snapshot(state["model"], state["training"])


def run_all(
    jobs: Sequence[Fit[Config]],
    score: Callable[[Fit[Config]], AnyRow],
    at_once: int,
    table: Table[AnyRow],
) -> None:
    """Makes the fits that have no row yet, and writes each row as it comes.

    Args:
        jobs: The fits.
        score: Makes one, in a process of its own.
        at_once: How many processes.
        table: Where the rows go.
    """
    rows = table.read()
    done = {row.key for row in rows}
    left = [job for job in jobs if job.key not in done]
    notify = Console(soft_wrap=True, highlight=False).print
    notify(f"{len(jobs) - len(left)} of {len(jobs)} fits are there")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, mp_context=spawn) as pool:
        running = [pool.submit(score, job) for job in left]
        for place, future in enumerate(as_completed(running), start=1):
            row = future.result()
            rows.append(row)
            table.write(rows)
            notify(f"  {place}/{len(left)}  {row.summary}")


def add_options(line: ArgumentParser, results: Path) -> None:
    """What every command line of fits has.

    Args:
        line: The command line.
        results: The table, unless another one is named.
    """
    line.add_argument("--study", metavar="NAME", help="whose best configurations are taken")
    for name, default, text in (
        ("--runs-dir", Path("runs"), "where that study is recorded"),
        ("--data-dir", Path("data"), "cache of data sets"),
        ("--results", results, "the table"),
    ):
        line.add_argument(
            name, type=typed_path, default=default, help=f"{text} (default: %(default)s)"
        )
    for name, count, text in (
        ("--seeds", 3, "fits of each"),
        ("--jobs", 2, "fits at a time"),
        ("--threads", 1, "of each fit"),
    ):
        line.add_argument(
            name, type=positive, default=count, help=f"{text} (default: %(default)s)"
        )
