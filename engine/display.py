"""Progress output of a running study: a live table on a terminal, and a line per ended trial."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from engine.agenda import Agenda
from engine.attempt import Attempt
from record.trial import ENDED, Trial

Item = TypeVar("Item")
Result = TypeVar("Result")

REFRESH = 0.5
"""Minimum seconds between two updates of the live table; drawing costs the driver time."""


class Display:
    """Shows the trials of a session; an observer of `engine.driver.Driver`.

    Args:
        console: Console to print to.
        agenda: Queue of the session's trials.
        best: Best finished trial of the study so far; None if there is none.
        nodes: True to show on which node each trial runs.

    Attributes:
        live: Trial number -> the attempt, for trials that run or wait for a slot.
    """

    def __init__(
        self,
        console: Console,
        agenda: Agenda,
        best: Trial | None = None,
        nodes: bool = False,
    ) -> None:
        self.console = console
        self.agenda = agenda
        self.best = best
        self.nodes = nodes
        self.live: Mapping[int, Attempt] = {}
        self.before = agenda.ended
        self.begun = time.monotonic()
        self.began: dict[int, float] = {}
        self.counts: Counter[str] = Counter()
        self.drawn = 0.0
        self.table = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self.table.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.table.stop()

    def changed(self, trial: Trial) -> None:
        """Updates the live table, and prints a line if the trial has ended or was dropped."""
        self.began.setdefault(trial.number, time.monotonic())
        if trial.dropped:
            self._print(f"         trial {trial.number:<4} dropped   {escape(trial.dropped)}")
        elif trial.status in ENDED:
            self._count(trial)
            self._print(self._line(trial))
        if self.table.is_started and time.monotonic() - self.drawn > REFRESH:
            self.drawn = time.monotonic()
            self.table.update(self._drawing(), refresh=True)

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)

    def _count(self, trial: Trial) -> None:
        self.counts[trial.status] += 1
        state = self.agenda.state
        if trial.status == "finished":
            known = self.best
            if known is None or state.standing(trial) > state.standing(known):
                self.best = trial

    @property
    def ended(self) -> int:
        """Number of trials that ended in this session."""
        return self.counts.total()

    def _line(self, trial: Trial) -> str:
        outcome = escape(trial.reason) if trial.reason else self._value(trial)
        done = self.before + self.ended
        seconds = time.monotonic() - self.began[trial.number]
        return (
            f"[dim]{done:>3}/{self.agenda.total}[/]  trial {trial.number:<4} {trial.status:<8}  "
            f"{trial.title:<30}  {outcome}  [dim]epoch {trial.epoch}, "
            f"{seconds:.0f} s{self._where(trial, ' on ')}[/]"
        )

    def _where(self, trial: Trial, words: str) -> str:
        return f"{words}{trial.placements[-1].node}" if self.nodes and trial.placements else ""

    def _value(self, trial: Trial) -> str:
        value = self.agenda.state.value(trial)
        return f"{self.agenda.state.session.objective} {'' if value is None else f'{value:.4f}'}"

    def _drawing(self) -> Table:
        elapsed = time.monotonic() - self.begun
        running = [attempt for attempt in self.live.values() if attempt.placed]
        table = Table.grid(padding=(0, 2))
        table.add_row(
            f"[bold]{self.before + self.ended}[/] of {self.agenda.total} done",
            f"{len(running)} running, {self.counts['pruned']} pruned, "
            f"{self.counts['failed']} failed",
            f"elapsed {_clock(elapsed)}, left {self._left(elapsed)}",
        )
        if (best := self.best) is not None:
            table.add_row(f"best: trial {best.number}", best.title, self._value(best))
        for attempt in running:
            trial = self.agenda.state.trial(attempt.number)
            done = f"epoch {attempt.epoch}/{trial.config['epochs']}{self._where(trial, ', ')}"
            table.add_row(f"[dim]trial {trial.number}", f"[dim]{trial.title}", done)
        return table

    def _left(self, elapsed: float) -> str:
        """Estimates the time left from the pace so far."""
        if not self.ended:
            return "?"
        return _clock(elapsed / self.ended * (self.agenda.total - self.before - self.ended))


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def with_progress(parallel: ParallelMap, console: Console) -> ParallelMap:
    """Wraps a parallel map so that it shows a progress bar named after the mapped function.

    On completion it prints a line with the elapsed seconds.
    """

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
