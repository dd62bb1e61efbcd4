"""What happens to each trial of a session, told once to the records, Optuna, MLflow, the display.

Both runners, Ray's and the one in this process, drive this object and nothing else. Two rules make
a study survive a crash at any moment. An epoch counts once it is in a checkpoint: MLflow never
knows more than the trial can go on from. An ending is written to the disk before anybody is told:
who did not hear of it is told by the next session (studies/reconcile.py).
"""

import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from upath import UPath

from analysis.markdown import block, escaped
from analysis.runs import State
from datasets.errors import described
from studies.budgets import Budgets, Limits, Stop
from studies.checkpoints import Checkpoints
from studies.delivery import Delivery
from studies.finals import Finals
from studies.kept import Finished, kept, remove_others
from studies.provenance import DEVICE, NODE, PROCESSOR, TAGS, THREADS, one_after_the_other
from studies.recording import NOTE, Recorder
from studies.records import Records, Row, Trial
from studies.search import Proposal, Search
from studies.shared_copy import SharedCopy
from trainables import checkpoint
from trainables.config import FitConfig

LONGEST_LOG = 4_000
"""Characters, counted from its end, of what a process wrote."""


@dataclass
class TrialRecord:
    """One trial of this session as far as it is known now.

    Attributes:
        number: Its number in the study.
        config: What it fits.
        state: How it stands; see `analysis.runs.TrialRun`.
        epoch: Epochs done.
        value: The objective after them; None before the first.
        reason: Why it failed.
        tags: Where it ran and, if it failed, what it said last.
        begun: ``time.monotonic()`` when it began in this session.
        heard: The same of its last sign of life.
        seconds: Its wall time in this session, once it has ended.
        baseline: Whether everything else is compared with it.
        of: Of a final the trial that it is another training of.
        started_ms: When it first began; milliseconds since 1970.
        ended_ms: When it ended.
        rows: Its epochs, those of earlier sessions included.
        saved: How many of them are in a checkpoint.
        placed: Whether it has begun in this session.
        leaving: Whether it is stopped only because the session ends.
    """

    number: int
    config: FitConfig
    state: State = "running"
    epoch: int = 0
    value: float | None = None
    reason: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    baseline: bool = False
    of: int | None = None
    started_ms: int = 0
    ended_ms: int | None = None
    rows: list[Row] = field(default_factory=list)
    saved: int = 0
    placed: bool = False
    leaving: bool = False

    @property
    def name(self) -> str:
        """Number and configuration at a glance; of a final the number of what it is one of."""
        return f"{self.number if self.of is None else self.of:04d} {self.title}"

    @property
    def title(self) -> str:
        """The configuration at a glance, and the seed where it matters."""
        return (
            self.config.title
            if self.of is None
            else f"{self.config.title} seed {self.config.seed}"
        )


@dataclass(frozen=True)
class Keeping:
    """Where a study keeps its trials.

    Attributes:
        records: The ended ones.
        checkpoints: Of all of them.
        copy: Of the records, in the shared storage.
    """

    records: Records
    checkpoints: Checkpoints
    copy: SharedCopy


class Ledger:
    """The trials of one session.

    Args:
        search: Where proposals come from and endings go: the search, or its finals.
        recorder: Where everything is recorded.
        keeping: Where trials are kept.
        objective: The metric that is maximised.
        by: The config field whose values are compared.
        limits: When to stop.
        keep: Checkpoints of how many finished trials are kept, the best of them; beside the
            baselines and the best of each compared value, which the analyses look at.
        max_failures: Times that a trial goes on from its checkpoint after its process died.
        say: Where to say what the user should know at once.
        on_change: Told after every change.
        code: What to record of the code with each trial that is trained, see
            `studies.provenance`.
    """

    def __init__(
        self,
        search: Search | Finals,
        recorder: Recorder,
        keeping: Keeping,
        objective: str,
        by: str,
        limits: Limits,
        keep: int,
        max_failures: int = 0,
        say: Callable[[str], None] = print,
        on_change: Callable[[TrialRecord], None] | None = None,
        code: Mapping[str, str] | None = None,
    ) -> None:
        self.search = search
        self.recorder = recorder
        self.written = keeping.records
        self.checkpoints = keeping.checkpoints
        self.copy = keeping.copy
        self.objective = objective
        self.by = by
        self.total = limits.trials
        self.keep = keep
        self.lock = threading.Lock()
        self.say = say
        self.on_change = on_change
        self.code = dict(code or {})
        self.records: dict[int, TrialRecord] = {}
        self.live: dict[int, TrialRecord] = {}
        self.stop: Stop | None = None
        self.budgets = Budgets(limits, objective)
        for told in search.endings():
            self.budgets.known(told.state, told.value)
        self.finished = [
            Finished(t.value, t.number, getattr(t.config, by), t.baseline, t.of is not None)
            for t in search.finished_trials()
        ]
        room = max(0, self.total - search.ended)
        self.unfinished = list(search.unfinished())[:room]
        self.alone = False
        self.crowded: list[Proposal] = []
        self.max_failures = max_failures
        self.deaths: Counter[int] = Counter()
        self.attempts: Counter[int] = Counter()
        self.seconds = 0.0
        self.delivery = Delivery(recorder, self.trial, say)

    # What to run

    def next(self) -> Proposal | None:
        """A trial to run: first those that an earlier session left, then new ones."""
        if self.should_stop():
            return None
        if self.unfinished:
            return self.unfinished.pop(0)
        return None if self.is_done() else self._timed(self._ask)

    def _ask(self) -> Proposal:
        proposal = self.search.ask()
        self.copy.journal()  # before the trial leaves anything that has its number
        return proposal

    def is_done(self) -> bool:
        """Whether no trial is left to begin."""
        return not self.unfinished and self.search.asked >= self.total

    def is_under_way(self, placed: bool = False) -> bool:
        """Whether a trial runs or, unless only `placed` ones count, waits for its place."""
        return any(record.placed or not placed for record in self.live.values())

    def should_stop(self) -> bool:
        """Whether the session ends although trials are left."""
        if self.stop is None:
            self.stop = self.budgets.stop()
        return self.stop is not None

    def was_cut_short(self) -> bool:
        """Whether the user ended the session, or the machine."""
        return self.stop is not None and self.stop.kind in ("interrupted", "trouble")

    def halt(self, stop: Stop) -> None:
        """Ends the session: no trial is begun, those that run are left after their epoch. Trouble
        is said, whatever else ends it."""
        if self.stop is None or stop.kind == "trouble":
            self.stop = stop

    def begin_alone(self) -> bool:
        """Lets `next` give, one by one and for the last time, the trials that did not fit beside
        others; returns whether there are any."""
        self.alone = True
        self.unfinished += self.crowded
        self.crowded = []
        return bool(self.unfinished) and not self.should_stop()

    # What happened

    def resume_from(self, proposal: Proposal) -> UPath | None:
        """Where a trial goes on from; None: from its beginning.

        What the checkpoint knows of its epochs is recorded, should it not be: the session that
        trained them may have died first.
        """
        if proposal.number in self.records:
            self.checkpoints.look_again(proposal.number)
        folder, rows = None, []
        for each in self.checkpoints.of_trial(proposal.number):
            state = checkpoint.read(each)
            if state is not None:
                folder, rows = each, state["history"]
                break
            name = self.checkpoints.name(each)
            self.say(f"trial {proposal.number}: its checkpoint {name} is damaged or cut off")
        known = self.recorder.children.get(proposal.number)
        earlier = self.records.get(proposal.number) or known  # MLflow may not have heard yet
        tags = earlier.tags if earlier else {}
        now = time.time_ns() // 1_000_000
        record = self.records[proposal.number] = TrialRecord(
            number=proposal.number,
            config=proposal.config,
            epoch=len(rows),
            value=rows[-1][self.objective] if rows else None,
            baseline=proposal.baseline,
            of=proposal.of,
            started_ms=known.started_ms if known else now,
            rows=list(rows),
            saved=len(rows),
            tags={tag: tags[tag] for tag in TAGS if tag in tags},
        )
        self.live[record.number] = record
        return folder

    def started(self, number: int, tags: Mapping[str, str] | None = None) -> None:
        """A trial has its place; told again when it goes on elsewhere.

        Args:
            number: The trial.
            tags: What to record of where it is.
        """
        record = self.records[number]
        record.heard = time.monotonic()
        record.tags |= tags or {}
        if not record.placed:
            record.placed, record.begun = True, record.heard
            self.delivery.tell(number)
            self._changed(record)

    def epoch(self, number: int, result: Mapping[str, Any]) -> None:
        """A trial has done an epoch.

        Args:
            number: The trial.
            result: What `Stepper.step` returned; other keys, such as Tune's own, do not matter.
        """
        record = self.records[number]
        record.heard = time.monotonic()
        epoch = result["epoch"]
        if record.state != "running" or epoch <= record.saved:
            return
        del record.rows[epoch - 1 :]  # done before, and lost with its process
        kept = ("epoch", "unix_ms", "memory_gib")
        record.rows.append({key: result[key] for key in result if "/" in key or key in kept})
        record.epoch, record.value = epoch, result[self.objective]
        here = {
            NODE: result.get("hostname", platform.node()),
            DEVICE: result["device"],
            PROCESSOR: result["processor"],
            THREADS: result["threads"],
            **self.code,
        }
        record.tags |= one_after_the_other(record.tags, here)
        self._changed(record)

    def saved(self, number: int, name: str) -> None:
        """The epochs of a trial so far are in a checkpoint of this name, see `Checkpoints`."""
        record = self.records[number]
        self.checkpoints.saved(number, name)
        if record.state == "running":
            record.saved = len(record.rows)
            self.delivery.tell(number)

    def leave(self, number: int) -> None:
        """A trial is being stopped because the session ends; the next one goes on with it."""
        self.records[number].leaving = True

    def ended(self, number: int) -> None:
        """A trial ended well: after its last epoch, or by the scheduler before, or by `leave`."""
        record = self.records[number]
        if record.state != "running":
            return
        if record.leaving or record.value is None:
            self._close(record, "stopped")
        elif record.epoch >= record.config.epochs:
            self._close(record, "finished")
        else:
            self._close(record, "pruned")

    def failed(self, number: int, reason: str, log: str = "") -> None:
        """A trial has no result.

        Args:
            number: The trial.
            reason: Why, in one line.
            log: The last lines that its process wrote.
        """
        record = self.records[number]
        if record.state != "running":
            return
        record.reason = reason
        if log:
            record.tags[NOTE] = f"{escaped(reason)}\n\n{block(log[-LONGEST_LOG:])}"
        self._close(record, "failed")

    def died(self, number: int, words: str, log: str) -> None:
        """The process of a trial died: the trial goes on from its checkpoint, if it may.

        Args:
            number: The trial.
            words: What there is to say of it, in one line.
            log: The last lines that the process wrote.
        """
        record = self.records[number]
        if record.state != "running":
            return
        self.deaths[number] += 1
        times = self.deaths[number]
        if times > self.max_failures:
            self.failed(number, f"its process died {times} times: {words}", log)
            return
        self.say(
            f"trial {number}: its process died after epoch {record.epoch}; it goes on from its "
            f"checkpoint ({times} of {self.max_failures} times)"
        )
        self._propose_again(record, self.unfinished)

    def moved(self, number: int, what: str = "its node is gone") -> None:
        """The node of a trial is gone, or seems to be: the trial goes on elsewhere, as often as
        that happens."""
        record = self.records[number]
        if record.state != "running":
            return
        if self.deaths[number] > self.max_failures:
            times = self.deaths[number]
            self.failed(
                number, f"its process was lost {times} times on nodes that live; now {what}"
            )
            return
        self.say(
            f"trial {number}: {what} after epoch {record.epoch}; it goes on from its checkpoint "
            f"of epoch {record.saved}"
        )
        self._propose_again(record, self.unfinished)

    def place_again(self) -> None:
        """All processes of trials are gone, and none of them is to blame."""
        for record in list(self.live.values()):
            self._propose_again(record, self.unfinished)

    def _propose_again(self, record: TrialRecord, queue: list[Proposal]) -> None:
        self.attempts[record.number] += 1
        queue.append(Proposal(record.number, record.config, record.baseline, of=record.of))
        self._close(record, "stopped")

    def out_of_memory(self, number: int, reason: str) -> None:
        """A trial asked for more memory than there was: it is tried again alone, if it was not."""
        record = self.records[number]
        if record.state != "running":
            return
        if self.alone:
            record.reason = reason
            self._close(record, "infeasible")
            return
        self.say(f"trial {number}: {reason}; it will be tried again alone, with the whole device")
        self._propose_again(record, self.crowded)

    def trouble(self, error: BaseException) -> None:
        """Something is wrong with the machine and not with a trial: the session ends."""
        self.halt(Stop("trouble", described(error)))

    def finish(self, patience: float) -> list[int]:
        """The session ends: trials that still run are left, MLflow is told of everything.

        Args:
            patience: Seconds to wait for a tracking server that is away.

        Returns:
            The trials of which MLflow does not know everything.
        """
        for record in list(self.live.values()):
            if record.placed or record.number in self.recorder.children:
                self._close(record, "stopped")
        return self.delivery.finish(patience)

    def trial(self, number: int) -> Trial | None:
        """A trial as it is to be recorded; None if its file cannot be read. Any thread may ask."""
        record = self.records[number]
        with self.lock:
            if record.state in ("running", "stopped"):
                return self._snapshot(record, record.state, record.rows[: record.saved])
        return self.written.read(number)

    def _snapshot(self, record: TrialRecord, state: State, rows: list[Row]) -> Trial:
        return Trial(
            identity=self.search.key,
            number=record.number,
            name=record.name,
            params=asdict(record.config),
            baseline=record.baseline,
            of=record.of,
            state=state,
            epoch=len(rows),
            value=record.value,
            reason=record.reason,
            tags=dict(record.tags),
            started_ms=record.started_ms,
            ended_ms=record.ended_ms,
            rows=tuple(rows),
        )

    def _changed(self, record: TrialRecord) -> None:
        if self.on_change is not None:
            self.on_change(record)

    def _close(self, record: TrialRecord, state: State) -> None:
        """A trial is over for this session: written down first, then told."""
        self.live.pop(record.number, None)
        record.seconds = time.monotonic() - record.begun
        record.ended_ms = time.time_ns() // 1_000_000
        if self.stop is not None and self.stop.kind == "trouble":
            state = "stopped"  # the next session tells how it ended
        if state != "stopped":
            try:
                self._timed(lambda: self._tell(record, state))
            except OSError as error:
                self.trouble(error)
                state = "stopped"
        with self.lock:
            record.state = state
            record.rows = record.rows if state == "stopped" else []
        self.delivery.tell(record.number, soon=True)
        self._changed(record)

    def _tell(self, record: TrialRecord, state: State) -> None:
        trial = self._snapshot(record, state, record.rows)
        self.written.write(trial)
        self.copy.trial(self.written.path(trial.number))
        self.search.tell(trial.number, state, trial.value, trial.epoch, trial.reason)
        self.copy.journal()
        self.budgets.ended(state, trial.value, trial.reason)
        before = kept(self.finished, self.keep)
        if state == "finished" and trial.value is not None:
            group = getattr(record.config, self.by)
            final = record.of is not None
            self.finished.append(Finished(trial.value, trial.number, group, trial.baseline, final))
        left = before - kept(self.finished, self.keep)
        remove_others(self.checkpoints, {trial.number, *left}, self.finished, self.keep)

    def _timed(self, action: Callable[[], Any]) -> Any:
        """Adds up what telling costs the driver."""
        begun = time.perf_counter()
        try:
            return action()
        finally:
            self.seconds += time.perf_counter() - begun
