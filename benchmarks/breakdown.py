"""Where the wall time of a study went, from its spans.

Before and after the trials the study itself has the machine; while they run, `slots` of them run
side by side, and each second of a slot belongs to what its trial was doing. Divided by the number
of slots, the parts add up to the wall time.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.spans import Span

STARTED = "trial start: process, imports, its data"
WAITED = "reports: stored, heard by the driver"

PARTS = (
    "imports of the driver",
    "opening data and records",
    "starting Ray",
    "pre-flight",
    STARTED,
    "preparing molecules and network",
    "training",
    "evaluation",
    "writing checkpoints",
    WAITED,
    "slots empty towards the end",
    "analysis and weights at the end",
    "leaving",
)
"""Every second of wall time is in one of these."""

DRIVER = {"recording": "recording", "search": "search: ask and tell"}
"""Span -> what the driver does besides, while trials run or wait."""


@dataclass(frozen=True)
class TrialSpans:
    """One trial.

    Attributes:
        spans: What it did, in order.
        config: Its configuration.
    """

    spans: Sequence[Span]
    config: dict[str, Any]

    @property
    def begin(self) -> float:
        """When it began to prepare."""
        return self.spans[0].begin

    @property
    def end(self) -> float:
        """When it had done the last thing."""
        return self.spans[-1].end

    @property
    def r2(self) -> list[float]:
        """R² on the validation split after each epoch."""
        return [s.facts["r2"] for s in self.spans if s.facts.get("r2") is not None]


@dataclass(frozen=True)
class Run:
    """A study that was run in a process of its own.

    Attributes:
        launched: ``time.time()`` when its process was launched.
        ended: When it was gone.
        slots: Trials side by side.
        spans: What it noted, by beginning.
    """

    launched: float
    ended: float
    slots: int
    spans: Sequence[Span]

    @property
    def wall(self) -> float:
        """Seconds, all told."""
        return self.ended - self.launched

    @property
    def trials(self) -> list[TrialSpans]:
        """The trials, by their beginning."""
        known = defaultdict(list)
        for span in self.spans:
            if "trial" in span.facts:
                known[span.facts["trial"]].append(span)
        return [TrialSpans(spans, spans[0].facts["config"]) for spans in known.values()]

    @property
    def epochs(self) -> int:
        """Epochs trained by all trials together."""
        return sum(len(trial.r2) for trial in self.trials)

    def driver(self) -> dict[str, float]:
        """Seconds that the driver spent on each of `DRIVER`."""
        return {
            part: sum(s.seconds for s in self.spans if s.name == name)
            for name, part in DRIVER.items()
        }

    def parts(self) -> dict[str, float]:
        """Seconds of wall time in each of `PARTS`."""
        main, trials = self._of_driver("main"), self._of_driver("trials")
        ray = [span for span in self.spans if span.name == "ray"]
        begin = max([trials.begin, *(span.end for span in ray)])
        starting = sum(span.seconds for span in ray)
        preflight = self._preflight(ray)
        parts = {
            "imports of the driver": main.begin - self.launched,
            "opening data and records": begin - main.begin - starting - preflight,
            "starting Ray": starting,
            "pre-flight": preflight,
            "analysis and weights at the end": main.end - trials.end,
            "leaving": self.ended - main.end,
        }
        slots = self._in_slots(begin, trials.end)
        parts |= {name: seconds / self.slots for name, seconds in slots.items()}
        return {name: parts.get(name, 0.0) for name in PARTS}

    def _preflight(self, ray: Sequence[Span]) -> float:
        """Seconds of the pre-flight, but for those in which Ray was started for it."""
        seconds = 0.0
        for span in self.spans:
            if span.name == "preflight":
                inside = (r.seconds for r in ray if span.begin <= r.begin <= span.end)
                seconds += span.seconds - sum(inside)
        return seconds

    def _of_driver(self, name: str) -> Span:
        """From the first to the last span of a name."""
        found = [s for s in self.spans if s.name == name]
        return Span(name, found[0].begin, max(s.end for s in found), {})

    def _in_slots(self, begin: float, end: float) -> dict[str, float]:
        """Seconds of all slots together between two moments."""
        seconds: dict[str, float] = defaultdict(float)
        free = [begin] * self.slots
        for trial in self.trials:
            slot = free.index(min(free))
            seconds[STARTED] += trial.begin - free[slot]
            free[slot] = trial.end
            busy = dict(_stages(trial.spans))
            for name, taken in busy.items():
                seconds[name] += taken
            seconds[WAITED] += trial.end - trial.begin - sum(busy.values())
        seconds["slots empty towards the end"] = sum(end - moment for moment in free)
        return seconds


def _stages(spans: Iterable[Span]) -> dict[str, float]:
    """Seconds of one trial in each stage that it noted."""
    stages: dict[str, float] = defaultdict(float)
    names = {"preparing": "preparing molecules and network", "checkpoint": "writing checkpoints"}
    for span in spans:
        if span.name == "step":  # an epoch of ours: training, then evaluation
            stages["training"] += span.facts["training"]
            stages["evaluation"] += span.seconds - span.facts["training"]
        else:
            stages[names.get(span.name, span.name)] += span.seconds
    return stages
