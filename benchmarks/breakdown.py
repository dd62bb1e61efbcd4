"""Breaks down the wall time of a study, as far as its own log tells, or the plain way's notes.

Before the first trial and after the last one the study itself has the machine; in between, `slots`
trials run side by side, and each second of a slot belongs to what its trial was doing. Divided by
the number of slots, the parts add up to the wall time.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.plain_notes import ASKED
from record.events import Event, Proposed
from record.state import fold
from record.trial import Trial

BEFORE = "before the first trial: imports, Ray, data, pre-flight, records"
STARTED = "trial start: process, imports, its data"
TRAINING = "training"
OTHER = "the rest of a trial: preparing, evaluation, checkpoints, reports"
EMPTY = "slots empty towards the end"
AFTER = "after the last trial: analysis, leaving"

PARTS = (BEFORE, STARTED, TRAINING, OTHER, EMPTY, AFTER)
"""Every second of wall time is in one of these."""


@dataclass(frozen=True)
class TrialRun:
    """One trial.

    Attributes:
        config: Its configuration, of plain values.
        begun: ``time.time()`` when it had its place; the clock is that of all processes.
        ended: When it had done the last thing.
        training: Seconds that it trained.
        r2: R² on the validation split after each epoch.
    """

    config: Mapping[str, Any]
    begun: float
    ended: float
    training: float
    r2: Sequence[float]

    @property
    def key(self) -> str:
        """The configuration as text, the same on both sides."""
        return json.dumps(dict(self.config), sort_keys=True)


@dataclass(frozen=True)
class StudyRun:
    """A study that was run in a process of its own.

    Attributes:
        launched: ``time.time()`` when its process was launched.
        asked: When its first trial was asked for.
        ended: When the process was gone.
        slots: Trials side by side.
        trials: The trials, in any order.
    """

    launched: float
    asked: float
    ended: float
    slots: int
    trials: Sequence[TrialRun]

    @property
    def wall(self) -> float:
        """Seconds from launch to exit."""
        return self.ended - self.launched

    @property
    def epochs(self) -> int:
        """Epochs trained by all trials together."""
        return sum(len(trial.r2) for trial in self.trials)

    @property
    def whole(self) -> list[TrialRun]:
        """The trials that were trained to their end, in the order of their ends."""
        budget = max(len(trial.r2) for trial in self.trials)
        return sorted((t for t in self.trials if len(t.r2) == budget), key=lambda t: t.ended)

    @property
    def best(self) -> float:
        """The best R² of a trial that was trained to its end."""
        return max(trial.r2[-1] for trial in self.whole)

    def seconds_to(self, r2: float) -> float:
        """Returns the seconds from launch until a trial had ended with an R²; infinite if none
        has."""
        moments = [trial.ended for trial in self.whole if trial.r2[-1] >= r2]
        return min(moments, default=math.inf) - self.launched

    def parts(self) -> dict[str, float]:
        """Seconds of wall time in each of `PARTS`."""
        last = max(trial.ended for trial in self.trials)
        training = sum(trial.training for trial in self.trials)
        started, empty = self._idle(last)
        busy = sum(trial.ended - trial.begun for trial in self.trials)
        in_slots = {STARTED: started, TRAINING: training, OTHER: busy - training, EMPTY: empty}
        return {
            BEFORE: self.asked - self.launched,
            **{name: seconds / self.slots for name, seconds in in_slots.items()},
            AFTER: self.ended - last,
        }

    def _idle(self, last: float) -> tuple[float, float]:
        """Seconds of all slots together before a trial, and after the last one of the slot.

        Args:
            last: When the last trial ended.
        """
        started, free = 0.0, [self.asked] * self.slots
        for trial in sorted(self.trials, key=lambda trial: trial.begun):
            slot = free.index(min(free))
            started += trial.begun - free[slot]
            free[slot] = trial.ended
        return started, sum(last - moment for moment in free)


def of_log(events: Sequence[Event]) -> tuple[float, list[TrialRun]]:
    """Reads off its log when a study asked for its first trial, and its trials."""
    asked = next(event.at for event in events if isinstance(event, Proposed))
    return asked.timestamp(), list(map(_of_log, fold(events).trials()))


def _of_log(trial: Trial) -> TrialRun:
    """Makes a `TrialRun` of a trial that has ended."""
    assert trial.started is not None and trial.ended is not None
    return TrialRun(
        trial.config,
        trial.started.timestamp(),
        trial.ended.timestamp(),
        sum(report.metrics["train/seconds"] for report in trial.reports),
        [report.metrics["validation/r2"] for report in trial.reports],
    )


def of_notes(folder: Path) -> tuple[float, list[TrialRun]]:
    """Reads off its notes when the plain way asked for its first trial, and its trials."""
    epochs: dict[str, list[Any]] = defaultdict(list)
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            trial, *noted = json.loads(line)
            epochs[trial].append(noted)
    asked = float((folder / ASKED).read_text(encoding="utf-8"))
    return asked, [_of_notes(noted) for noted in epochs.values()]


def _of_notes(epochs: Sequence[Any]) -> TrialRun:
    """Makes a `TrialRun` of what was noted of a trial's epochs."""
    configs, begun, ended, training, r2 = zip(*epochs, strict=True)
    return TrialRun(configs[0], begun[0], ended[-1], sum(training), r2)
