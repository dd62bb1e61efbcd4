"""A study that is played through in no time: real trials, checkpoints and logs, invented fits."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from happened import BEGUN, UNIX_MS, began, ended_session
from old_proposals import score
from recorded_space import RecordedConfig
from upath import UPath

from record.appender import Appender
from record.events import Event
from record.log import Log, MemoryLog
from record.state import StudyState, fold
from record.tracker import MemoryTracker
from record.trial import Trial
from studies.agenda import Agenda
from studies.budgets import Limits
from studies.checkpoints import Checkpoints, opened
from studies.history import History
from studies.projection import Projection, catch_up
from studies.proposers import Proposer, Search
from studies.provenance import Code
from studies.replicates import Replicates
from studies.retention import Retention
from studies.search_memory import SearchMemory
from studies.space import Space
from studies.trials import Trials
from trainables import checkpoint
from trainables.trial_spec import TrialSpec, trial_folder

OBJECTIVE = "validation/r2"
EPOCHS = 3
CODE = Code("abc+", {"torch": "2.13.0"})
HERE = {"device": "cpu", "processor": "x86 AVX2", "threads": "1", "hostname": "here", "pid": 7}

Fate = Literal["finishes", "is pruned", "fails", "dies once", "dies", "finds no room"]


class Clock:
    """Shows what it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return BEGUN + timedelta(seconds=self.seconds)


class Killed(BaseException):
    """The driver is killed; nothing catches it."""


class MortalLog(MemoryLog):
    """A log whose driver is killed before, or after, it is appended to for the so-manieth time."""

    def __init__(self) -> None:
        super().__init__()
        self.appends_left: int | None = None
        self.is_written_first = False

    def append(self, group: Any) -> None:
        if self.appends_left == 0 and not self.is_written_first:
            raise Killed
        super().append(group)
        if self.appends_left == 0:
            raise Killed
        if self.appends_left is not None:
            self.appends_left -= 1


Moment = Literal["before a checkpoint", "after a checkpoint", "a change is told"]


@dataclass
class Death:
    """The driver is killed when a moment comes for the so-manieth time."""

    moment: Moment | None = None
    times: int = 0

    def look(self, moment: Moment) -> None:
        if moment == self.moment:
            self.times -= 1
            if self.times < 0:
                self.moment = None
                raise Killed


@dataclass
class Seen:
    """An observer that remembers."""

    death: Death
    trials: list[Trial] = field(default_factory=list)

    def changed(self, trial: Trial) -> None:
        self.trials.append(trial)
        self.death.look("a change is told")


def row(number: int, config: Any, epoch: int) -> dict[str, Any]:
    """An epoch of a trial: the same whenever it is trained."""
    value = score(config) + config.seed / 64 + epoch / 128
    when = UNIX_MS + 1000 * epoch + number
    return {OBJECTIVE: value, "epoch": epoch, "unix_ms": when, "memory_gib": 0.25}


class Study:
    """What outlives a session: a log, checkpoints, a tracker.

    Args:
        folder: Of the checkpoints.
        log: The log; None: one in memory.
        fates: Number -> what becomes of the trial; the others finish.
    """

    def __init__(
        self,
        folder: Path,
        log: Log | None = None,
        fates: Mapping[int, Fate] | None = None,
    ) -> None:
        self.root: UPath = opened(str(folder / "trials"))
        self.log: Log = MemoryLog() if log is None else log
        self.tracker = MemoryTracker()
        self.space = small_space()
        self.fates = dict(fates or {})
        self.clock = Clock()
        self.death = Death()

    def events(self) -> list[Event]:
        return list(self.log.read())

    def folded(self) -> StudyState:
        return fold(self.log.read())

    def session(self, **more: Any) -> "Session":
        """A new process goes on with the study."""
        return Session(self, **more)


def small_space() -> Space:
    """Two families and three epochs."""
    given = {"family": ["gcn", "gat"], "epochs": [EPOCHS]}
    return Space.of(RecordedConfig, "family", given)  # pyright: ignore[reportArgumentType]


class Session:
    """One process of a study, as far as its trials go."""

    def __init__(self, study: Study, keep: int = 1) -> None:
        self.study = study
        state = study.folded()
        self.history = History(Appender(study.log, study.clock), state, study.clock.now)
        self.number = len(state.sessions) + 1
        self.history.add(began(self.number))
        self.checkpoints = Checkpoints(study.root)
        self.said: list[str] = []
        catch_up(study.tracker, self.history)
        self.projection = Projection(study.tracker, self.history, self.said.append)
        self.retention = Retention(state, self.checkpoints, "family", keep)
        self.seen = Seen(study.death)
        self.ended_lives: set[int] = set()

    def search(self, total: int, seed: int = 0, **more: Any) -> Trials:
        """The search, of so many trials."""
        state = self.history.state
        memory = SearchMemory(self.study.space, "tpe", seed, OBJECTIVE, trials=state.search())
        return self.trials(Search(state, memory), total, **more)

    def finals(self, count: int, seeds: int, **more: Any) -> Trials:
        """The finals."""
        proposer = Replicates(self.history.state, self.study.space, count, seeds)
        return self.trials(proposer, proposer.total, **more)

    def trials(self, proposer: Proposer, total: int, **more: Any) -> Trials:
        allowed = {name: more.pop(name) for name in ("target", "plateau") if name in more}
        more = {"max_failures": 1, "say": self.said.append, **more}
        observers = (self.retention, self.seen, self.projection)
        agenda = Agenda(self.history.state, proposer, Limits(total, **allowed))
        return Trials(self.history, agenda, self.checkpoints, CODE, observers, **more)

    def end(self) -> list[int]:
        """The session ends well; returns what was not delivered."""
        self.history.add(ended_session(self.number, "KILLED"))
        return self.projection.finish(patience=5.0)

    def play(self, trials: Trials, most: int | None = None) -> None:
        """Runs trials one after the other until none is left, or so many at most."""
        while most != 0 and (trial := trials.next()) is not None:
            Fit(self, trials, trials.begin(trial)).run()
            most = None if most is None else most - 1

    def play_all(self, trials: Trials) -> None:
        """Runs all trials, those that did not fit beside others last, and leaves them."""
        self.play(trials)
        while trials.agenda.begin_alone():
            self.play(trials)
        trials.finish()


class Fit:
    """The process of one trial."""

    def __init__(self, session: Session, trials: Trials, spec: TrialSpec) -> None:
        self.session = session
        self.trials = trials
        self.spec = spec
        self.number = spec.number
        self.fate = session.study.fates.get(self.number, "finishes")
        state = checkpoint.read(UPath(spec.resume)) if spec.resume else None
        self.history: list[dict[str, Any]] = state["history"] if state else []

    def run(self) -> None:
        """Trains it to its end."""
        self.trials.placed(self.number)
        if len(self.history) == EPOCHS:
            self.trials.epoch(self.number, {**self.history[-1], **HERE})
        while len(self.history) < EPOCHS:
            self.train()
            if len(self.history) == 2 and self.meets_its_fate():
                return
            self.save()
        self.trials.completed(self.number)

    def train(self) -> None:
        """Does an epoch."""
        self.history.append(row(self.number, self.spec.config, len(self.history) + 1))
        self.trials.epoch(self.number, {**self.history[-1], **HERE, "done": False})

    def save(self) -> None:
        """Writes a checkpoint, and says so."""
        folder = f"session-{self.session.number:04d}/{self.folder()}"
        name = f"{folder}/checkpoint_{len(self.history):06d}"
        death = self.session.study.death
        death.look("before a checkpoint")
        write_checkpoint(self.session.study.root / name, self.history)
        death.look("after a checkpoint")
        self.trials.saved(self.number, name)
        self.trials.trim(self.number)

    def folder(self) -> str:
        return trial_folder(self.number, self.spec.attempt)

    def meets_its_fate(self) -> bool:
        """Ends as it is to, after two epochs, of which the second is not saved."""
        match self.fate:
            case "is pruned":
                self.trials.completed(self.number)
            case "fails":
                self.trials.failed(self.number, "loss nan in epoch 3", "last words")
            case "finds no room":
                self.trials.out_of_memory(self.number, "out of memory")
            case "dies":
                self.trials.died(self.number, "a signal", "last words")
            case "dies once" if self.number not in self.session.ended_lives:
                self.session.ended_lives.add(self.number)
                self.trials.died(self.number, "a signal", "last words")
            case _:
                return False
        return True


def write_checkpoint(folder: UPath, history: list[dict[str, Any]]) -> None:
    """A checkpoint as of a fit; without waiting for the disk."""
    content = io.BytesIO()
    torch.save({"epoch": len(history), "history": history}, content)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / checkpoint.FILE).write_bytes(content.getvalue())
