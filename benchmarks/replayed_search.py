"""A search whose trainings are read off recorded curves instead of being done."""

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from benchmarks.learning_curves import Curve
from benchmarks.stopping_rules import Plan, Rule, Verdict
from engine.search_memory import SamplerName, SearchMemory
from engine.space import Space
from record.events import Ended, Event, Paused, Placed, Proposed, Reported, SessionBegan
from record.state import StudyState
from record.trial import Baseline, Placement, Report, Searched
from record.values import plain

OBJECTIVE = "validation/r2"

BEGUN = datetime(2000, 1, 1, tzinfo=UTC)
NOWHERE = Placement("replay", "cpu", "", 1, 0, "", {})


@dataclass(frozen=True)
class Found:
    """A trial of a replayed search that was trained to its end.

    Attributes:
        seconds: Time since the start of the search.
        number: Number of its configuration in the table.
        value: Its objective.
    """

    seconds: float
    number: int
    value: float


@dataclass(frozen=True)
class Replay:
    """What came of one search.

    Attributes:
        seconds: How long it took.
        found: The trials that were trained to their end, in the order of their ends.
    """

    seconds: float
    found: tuple[Found, ...]

    def best(self, seconds: float = math.inf) -> float:
        """Returns the best value that was found within a time; NaN if there is none."""
        values = [each.value for each in self.found if each.seconds <= seconds]
        return max(values, default=math.nan)


class Table:
    """The configurations that a replayed search may try, with their curves.

    Args:
        space: Search space of which they are.
        curves: One curve of each configuration.
    """

    def __init__(self, space: Space, curves: Sequence[Curve]) -> None:
        self.space = space
        self.curves = {curve.number: curve for curve in curves}
        configs = {n: space.config(**curve.config) for n, curve in self.curves.items()}
        self.drawn = {number: plain(space.drawn(config)) for number, config in configs.items()}
        first = [plain(each) for each in space.first()]
        self.first = [n for n, drawn in self.drawn.items() if drawn in first]
        self.scaled = {number: self._scaled(drawn) for number, drawn in self.drawn.items()}
        self.epochs = max(curve.config["epochs"] for curve in curves)

    def nearest(self, drawn: Mapping[str, Any], left: Sequence[int]) -> int:
        """Returns the configuration nearest to a draw: one of the same group if there is any, with
        the least Euclidean distance of the parameters, each scaled to its range."""
        wanted, group = self._scaled(drawn), self.space.group_by
        own = [number for number in left if self.scaled[number][group] == wanted[group]]
        return min(own or left, key=lambda number: _distance(wanted, self.scaled[number]))

    def _scaled(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        ranges = {parameter.key: parameter.distribution for parameter in self.space.parameters}
        return {key: _share(ranges[key], value) for key, value in drawn.items()}


def _share(distribution: Any, value: Any) -> Any:
    """Returns where a number lies in its range, 0 to 1; a choice as it is."""
    if not hasattr(distribution, "low"):
        return value
    scale = np.log if distribution.log else float
    low, high = scale(distribution.low), scale(distribution.high)
    return (scale(value) - low) / max(high - low, 1e-12)


def _distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    return sum(_apart(one[key], other[key]) ** 2 for key in one if key in other)


def _apart(one: Any, other: Any) -> float:
    is_number = isinstance(one, float) and isinstance(other, float)
    return one - other if is_number else float(one != other)


class ReplayedSearch:
    """One search over a table.

    Args:
        table: Configurations and curves.
        rule: Makes the rule of early stopping.
        plan: Size of the search.
        sampler: How configurations are chosen. ``random``: in a random order; any other: as
            Optuna's sampler draws, each draw replaced by the nearest configuration that is left.
        workers: Number of trials that run at the same time.
        start: Seconds that the start of a trial takes, and each going on.
        seed: Seed of the order, and of the sampler.
    """

    def __init__(
        self,
        table: Table,
        rule: Callable[[StudyState, Plan], Rule],
        plan: Plan,
        sampler: SamplerName,
        workers: int,
        start: float,
        seed: int,
    ) -> None:
        self.table, self.seed = table, seed
        self.sampler: SamplerName = sampler
        self.workers, self.start = workers, start
        self.trials = min(plan.trials, len(table.curves))
        self.state = StudyState()
        self._add(_session())
        self.rule = rule(self.state, plan)
        others = [number for number in table.curves if number not in table.first]
        order = np.random.default_rng(seed).permutation(others)
        self.left = [*table.first, *map(int, order)]
        self.configuration: dict[int, int] = {}
        self.running: list[tuple[float, int]] = []
        self.seconds = 0.0

    def run(self) -> Replay:
        """Replays the whole search."""
        found = []
        self._fill()
        while self.running:
            self.seconds, number = heapq.heappop(self.running)
            found += self._heard(number)
            self._fill()
        return Replay(self.seconds, tuple(found))

    def _fill(self) -> None:
        """Begins trials, or lets waiting ones go on, while a worker is free."""
        while len(self.running) < self.workers:
            under_way = [self.state.trial(number) for _, number in self.running]
            number = self.rule.promoted(self.state.next_index, under_way)
            if number is None and self.state.next_index < self.trials:
                number = self._proposed()
            if number is None:
                return
            self._add(Placed(number, NOWHERE, self._now()))
            self._schedule(number, self.start)

    def _heard(self, number: int) -> Iterator[Found]:
        """Handles the end of a trial's epoch, or of a training that diverged."""
        curve, trial = self.table.curves[self.configuration[number]], self.state.trial(number)
        if trial.epoch == len(curve.objective):  # diverged in the epoch after it
            self._add(Ended(number, "failed", self._now(), "diverged"))
            return
        value = curve.objective[trial.epoch]
        report = Report(trial.epoch + 1, 0, 0.0, {OBJECTIVE: value})
        self._add(Reported(number, (report,)))
        verdict = self.rule.verdict(self.state.trial(number))
        if report.epoch == curve.config["epochs"]:
            self._add(Ended(number, "finished", self._now()))
            yield Found(self.seconds, self.configuration[number], value)
        elif verdict is Verdict.GO_ON:
            self._schedule(number, 0.0)
        elif verdict is Verdict.WAIT:
            self._add(Paused(number, "waits at a rung", self._now()))
        else:
            self._add(Ended(number, "pruned", self._now()))

    def _schedule(self, number: int, start: float) -> None:
        """Schedules the end of a trial's next epoch."""
        curve, epoch = (
            self.table.curves[self.configuration[number]],
            self.state.trial(number).epoch,
        )
        took = curve.seconds[min(epoch, len(curve.seconds) - 1)] if curve.seconds else 0.0
        heapq.heappush(self.running, (self.seconds + start + took, number))

    def _proposed(self) -> int:
        index = number = self.state.next_index
        chosen = self._chosen()
        self.left.remove(chosen)
        self.configuration[number] = chosen
        role = Baseline(index) if chosen in self.table.first else Searched(index)
        drawn = self.table.drawn[chosen]
        self._add(Proposed(number, self.table.curves[chosen].config, drawn, role, self._now()))
        return number

    def _chosen(self) -> int:
        sampler = self.sampler
        if sampler == "random" or self.state.next_index < len(self.table.first):
            return self.left[0]
        memory = SearchMemory(
            self.table.space, sampler, self.seed, OBJECTIVE, trials=self.state.search()
        )
        return self.table.nearest(plain(memory.ask().drawn), self.left)

    def _add(self, event: Event) -> None:
        self.state.apply(event)

    def _now(self) -> datetime:
        return BEGUN + timedelta(seconds=self.seconds)


def _session() -> SessionBegan:
    return SessionBegan("session-0001", "replay", OBJECTIVE, "maximize", {}, [], {}, BEGUN)
