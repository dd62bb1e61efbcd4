"""What happens to each trial of a session, told once to Optuna, MLflow and the display.

Both runners, Ray's and the one in this process, drive this object and nothing else.
"""

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from studies.recording import Recorder
from studies.search import Proposal, Search
from trainables.config import FitConfig

State = Literal["running", "finished", "pruned", "failed", "stopped"]


@dataclass
class TrialRecord:
    """One trial as far as it is known now.

    Attributes:
        number: Its number in the study.
        config: What it fits.
        state: How it stands; ``stopped``: the session ended first, the next one goes on with it.
        epoch: Epochs done.
        value: The objective after them; None before the first.
        reason: Why it failed.
        tags: Where it ran and, if it failed, why.
        begun: ``time.monotonic()`` when it began in this session.
        seconds: Its wall time in this session, once it has ended.
    """

    number: int
    config: FitConfig
    state: State = "running"
    epoch: int = 0
    value: float | None = None
    reason: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    seconds: float = 0.0


class Ledger:
    """The trials of one session.

    Args:
        search: Where proposals come from and endings go.
        recorder: Where everything is recorded.
        objective: The metric that is maximised.
        total: Trials in all, earlier sessions' included.
        deadline: ``time.monotonic()`` after which the session stops; None: never.
        on_change: Told after every change.
    """

    def __init__(
        self,
        search: Search,
        recorder: Recorder,
        objective: str,
        total: int,
        deadline: float | None = None,
        on_change: Callable[[TrialRecord], None] | None = None,
    ) -> None:
        self.search = search
        self.recorder = recorder
        self.objective = objective
        self.total = total if search.largest is None else min(total, search.largest)
        self.deadline = deadline
        self.on_change = on_change
        self.records: dict[int, TrialRecord] = {}
        room = max(0, self.total - search.ended)
        self._unfinished = list(search.unfinished())[:room]

    def next(self) -> Proposal | None:
        """A trial to run: first those that an earlier session left, then new ones."""
        if self.out_of_time():
            return None
        if self._unfinished:
            return self._unfinished.pop(0)
        return None if self.is_done() else self.search.ask()

    def is_done(self) -> bool:
        """Whether no trial is left to run."""
        return not self._unfinished and self.search.asked >= self.total

    def out_of_time(self) -> bool:
        """Whether the session's time is up."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def started(self, proposal: Proposal) -> None:
        """A trial has its place; told again when it goes on elsewhere."""
        if proposal.number in self.records:
            return
        record = TrialRecord(proposal.number, proposal.config)
        self.records[proposal.number] = record
        name = f"{proposal.number:04d} {proposal.config.title}"
        self.recorder.started(proposal.number, name, proposal.config, proposal.baseline)
        self._changed(record)

    def epoch(self, number: int, result: Mapping[str, Any]) -> None:
        """A trial has done an epoch.

        Args:
            number: The trial.
            result: What `Stepper.step` returned; other keys, such as Tune's own, do not matter.
        """
        record = self.records[number]
        if record.state != "running":
            return
        record.epoch, record.value = result["epoch"], result[self.objective]
        metrics = {key: result[key] for key in result if "/" in key or key == "memory_gib"}
        self.recorder.epoch(number, record.epoch, metrics)
        record.tags = {
            "orrery.device": result["device"],
            "orrery.node": result.get("hostname", platform.node()),
        }
        self._changed(record)

    def ended(self, number: int) -> None:
        """A trial ended well: by itself after its last epoch, or by the scheduler before."""
        record = self.records[number]
        if record.state != "running":
            return
        assert record.value is not None
        if record.epoch >= record.config.epochs:
            self.search.finished(number, record.value)
            self._close(record, "finished", "FINISHED")
        else:
            self.search.pruned(number, record.value, record.epoch)
            self._close(record, "pruned", "FINISHED")

    def failed(self, number: int, reason: str) -> None:
        """A trial has no result."""
        record = self.records[number]
        if record.state != "running":
            return
        record.reason = reason
        record.tags["orrery.reason"] = reason
        self.search.failed(number, reason)
        self._close(record, "failed", "FAILED")

    def stop(self) -> None:
        """The session ends: running trials are closed in MLflow and stay open in Optuna."""
        for record in self.records.values():
            if record.state == "running":
                self._close(record, "stopped", "KILLED")

    def _changed(self, record: TrialRecord) -> None:
        if self.on_change is not None:
            self.on_change(record)

    def _close(self, record: TrialRecord, state: State, status: str) -> None:
        record.state = state
        record.seconds = time.monotonic() - record.begun
        self.recorder.ended(record.number, status, {**record.tags, "orrery.state": state})
        self._changed(record)
