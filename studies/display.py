"""What one sees while a study runs: a live table on a terminal, a line a trial in a log file."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from datasets.parallel import ParallelMap
from studies.ledger import TrialRecord
from studies.provenance import NODE
from studies.search import FinishedTrial

Item = TypeVar("Item")
Result = TypeVar("Result")

REFRESH = 0.5
"""Seconds between two drawings of the live table: every report would cost the driver more."""


class Display:
    """Shows the trials of a session; `changed` is the ledger's listener.

    Args:
        console: Where to.
        objective: Name of the metric that is maximised.
        total: Trials of the study.
        known: Trials that earlier sessions ended.
        best: The best finished trial of earlier sessions.
        nodes: Whether trials run on several, and it is shown where.
    """

    def __init__(
        self,
        console: Console,
        objective: str,
        total: int,
        known: int,
        best: FinishedTrial | None = None,
        nodes: bool = False,
    ) -> None:
        self.nodes = nodes
        self.console = console
        self.objective = objective
        self.total = total
        self.known = known
        self.begun = time.monotonic()
        self.states: dict[int, str] = {}
        self.counts: Counter[str] = Counter()
        self.running: dict[int, TrialRecord] = {}
        self.best: TrialRecord | FinishedTrial | None = best
        self.best_value = best.value if best else -math.inf
        self.drawn = 0.0
        self.live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()

    def changed(self, record: TrialRecord) -> None:
        """A trial began, did an epoch, or ended."""
        self._count(record)
        if record.state not in ("running", "stopped"):
            self.console.print(self._line(record), highlight=False, soft_wrap=True)
        if self.live.is_started and time.monotonic() - self.drawn > REFRESH:
            self.drawn = time.monotonic()
            self.live.update(self._table(), refresh=True)

    def _count(self, record: TrialRecord) -> None:
        """Takes in how a trial stands now; the others are not looked at again."""
        before = self.states.get(record.number)
        if before is not None:
            self.counts[before] -= 1
        self.states[record.number] = record.state
        self.counts[record.state] += 1
        if record.state == "running":
            self.running[record.number] = record
        else:
            self.running.pop(record.number, None)
        value = -math.inf if record.value is None else record.value
        if record.state == "finished" and value > self.best_value:
            self.best, self.best_value = record, value

    @property
    def ended(self) -> int:
        """Trials that ended in this session."""
        return self.counts.total() - self.counts["running"] - self.counts["stopped"]

    def _line(self, record: TrialRecord) -> str:
        outcome = escape(record.reason) if record.reason else self._value(record)
        done = self.known + self.ended
        return (
            f"[dim]{done:>3}/{self.total}[/]  trial {record.number:<4} {record.state:<8}  "
            f"{record.title:<30}  {outcome}  [dim]epoch {record.epoch}, "
            f"{record.seconds:.0f} s{self._where(record, ' on ')}[/]"
        )

    def _where(self, record: TrialRecord, words: str) -> str:
        here = record.tags.get(NODE, "").rpartition(", ")[2]
        return f"{words}{here}" if self.nodes and here else ""

    def _value(self, record: TrialRecord) -> str:
        value = "" if record.value is None else f"{record.value:.4f}"
        return f"{self.objective} {value}"

    def _table(self) -> Table:
        counts = self.counts
        elapsed = time.monotonic() - self.begun
        table = Table.grid(padding=(0, 2))
        table.add_row(
            f"[bold]{self.known + self.ended}[/] of {self.total} done",
            f"{counts['running']} running, {counts['pruned']} pruned, {counts['failed']} failed",
            f"elapsed {_clock(elapsed)}, left {self._left(elapsed)}",
        )
        if (best := self.best) is not None:
            score = f"{self.objective} {best.value:.4f}"
            table.add_row(f"best: trial {best.number}", best.config.title, score)
        for record in self.running.values():
            done = f"epoch {record.epoch}/{record.config.epochs}{self._where(record, ', ')}"
            table.add_row(f"[dim]trial {record.number}", f"[dim]{record.title}", done)
        return table

    def _left(self, elapsed: float) -> str:
        """Expected from the pace so far."""
        if not self.ended:
            return "?"
        return _clock(elapsed / self.ended * (self.total - self.known - self.ended))


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def with_progress(parallel: ParallelMap, console: Console) -> ParallelMap:
    """The same map with a progress bar named after the function; a line at the end."""

    def tracked(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterable[Result]:
        begun = time.monotonic()
        description = function.__name__.replace("_", " ")
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        silent = not console.is_terminal
        with Progress(
            *columns, TimeRemainingColumn(), console=console, transient=True, disable=silent
        ) as progress:
            task = progress.add_task(description, total=len(items))
            for result in parallel(function, items):
                progress.advance(task)
                yield result
        console.print(f"{description}: {time.monotonic() - begun:.1f} s")

    return tracked
