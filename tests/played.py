"""A study that is played through in no time: real trials, checkpoints and logs, invented fits."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from happened import BEGUN, UNIX_MS, began, ended_session
from old_proposals import score
from recorded_space import RecordedConfig
from upath import UPath

from engine.agenda import Agenda
from engine.budgets import Limits
from engine.checkpoints import Checkpoints, as_upath
from engine.driver import Driver, Nothing, Verdict
from engine.early_stopping import Halving
from engine.history import History
from engine.projection import Projection, catch_up
from engine.proposers import Proposer, Search
from engine.provenance import Code
from engine.replicates import Replicates
from engine.retention import Retention
from engine.rungs import rungs
from engine.search_memory import SearchMemory
from engine.space import Space
from record.appender import Appender
from record.events import Event
from record.log import Log, MemoryLog
from record.state import StudyState, fold
from record.tracker import MemoryTracker
from record.trial import Trial
from trainables import checkpoint
from trainables.message import DEPTH, Message
from trainables.trial_spec import TrialSpec

OBJECTIVE = "validation/r2"
EPOCHS = 5
CODE = Code("abc+", {"torch": "2.13.0"})
HERE = {"device": "cpu", "processor": "x86 AVX2", "threads": "1", "node": "here", "process": 7}

Fate = Literal["finishes", "is poor", "fails", "dies once", "dies", "finds no room"]

LUCK: dict[Fate, float] = {
    "finishes": 0.0,
    "is poor": -9.0,
    "fails": 9.0,
    "dies once": 9.0,
    "dies": 9.0,
    "finds no room": 9.0,
}
"""What a fate does to the objective: who is to meet it later is not stopped early before."""


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


def row(number: int, config: Any, epoch: int, fate: Fate = "finishes") -> dict[str, Any]:
    """An epoch of a trial: the same whenever it is trained."""
    value = score(config) + config.seed / 64 + epoch / 128 + LUCK[fate]
    when = UNIX_MS + 1000 * epoch + number
    return {OBJECTIVE: value, "epoch": epoch, "unix_ms": when, "memory_gib": 0.25}


class Study:
    """What outlives a session: a log, checkpoints, a tracker.

    Args:
        folder: Of the checkpoints.
        log: The log; None: one in memory.
        fates: Number -> what becomes of the trial; the others finish.
        every: Epochs of a message.
        stops_early: Whether its search stops trials early.
    """

    def __init__(
        self,
        folder: Path,
        log: Log | None = None,
        fates: Mapping[int, Fate] | None = None,
        every: int = 1,
        stops_early: bool = False,
    ) -> None:
        self.root: UPath = as_upath(str(folder / "trials"))
        self.log: Log = MemoryLog() if log is None else log
        self.tracker = MemoryTracker()
        self.space = small_space()
        self.fates: dict[int, Fate] = dict(fates or {})
        self.every = every
        self.stops_early = stops_early
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
    """Two families and few epochs."""
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

    def search(self, total: int, seed: int = 0, **more: Any) -> Driver:
        """The search, of so many trials."""
        state = self.history.state
        memory = SearchMemory(self.study.space, "tpe", seed, OBJECTIVE, trials=state.search())
        halving = Halving(state, rungs(EPOCHS)) if self.study.stops_early else None
        return self.driver(Search(state, memory), total, halving=halving, **more)

    def finals(self, count: int, seeds: int, **more: Any) -> Driver:
        """The finals."""
        proposer = Replicates(self.history.state, self.study.space, count, seeds)
        return self.driver(proposer, proposer.total, **more)

    def driver(self, proposer: Proposer, total: int, **more: Any) -> Driver:
        allowed = {name: more.pop(name) for name in ("target", "plateau") if name in more}
        more = {"max_failures": 1, "notify": self.said.append, **more}
        observers = (self.retention, self.seen, self.projection)
        agenda = Agenda(self.history.state, proposer, Limits(total, **allowed))
        return Driver(self.history, agenda, self.checkpoints, CODE, observers, **more)

    def end(self) -> list[int]:
        """The session ends well; returns what was not delivered."""
        self.history.add(ended_session(self.number, "KILLED"))
        return self.projection.finish(patience=5.0)

    def play(self, driver: Driver, most: int | None = None) -> None:
        """Runs trials one after the other until none is left, or so many at most."""
        while most != 0 and not isinstance(trial := driver.next(), Nothing):
            Fit(self, driver, driver.begin(trial)).run()
            most = None if most is None else most - 1

    def play_all(self, driver: Driver) -> None:
        """Runs all trials, those that did not fit beside others last, and leaves them."""
        self.play(driver)
        while driver.agenda.begin_alone():
            self.play(driver)
        driver.finish()


class Fit:
    """The process of one trial: what `trainables.worker.Worker` does, without training."""

    def __init__(self, session: Session, driver: Driver, spec: TrialSpec) -> None:
        self.session = session
        self.driver = driver
        self.spec = spec
        self.number = spec.number
        fates: Mapping[int, Fate] = session.study.fates
        self.fate: Fate = fates.get(self.number, "finishes")
        state = checkpoint.read(UPath(spec.resume)) if spec.resume else None
        self.history: list[dict[str, Any]] = state["history"] if state else []
        self.told = len(self.history)
        self.checkpoint = name_of(UPath(spec.resume)) if spec.resume else ""
        self.saved: list[UPath] = []

    def run(self) -> None:
        """Trains it to its end, or until it is told to stop."""
        self.driver.placed(self.number)
        if len(self.history) in (*self.spec.rungs, EPOCHS) and self.says() is Verdict.STOP:
            return
        while True:
            self.train()
            if len(self.history) == 2 and self.meets_its_fate():
                return
            if not self.is_time():
                continue
            self.save()
            if self.says() is Verdict.STOP:
                return

    def is_time(self) -> bool:
        """Whether it reports after this epoch."""
        epochs, every = len(self.history), self.session.study.every
        return epochs - self.told >= every or epochs in (*self.spec.rungs, EPOCHS)

    def train(self) -> None:
        """Does an epoch."""
        epoch = len(self.history) + 1
        self.history.append(row(self.number, self.spec.config, epoch, self.fate))

    def save(self) -> None:
        """Writes a checkpoint, and removes one that is too old."""
        folder = UPath(self.spec.folder) / f"checkpoint_{len(self.history):06d}"
        death = self.session.study.death
        death.look("before a checkpoint")
        write_checkpoint(folder, self.history, asdict(self.spec.config))
        death.look("after a checkpoint")
        self.checkpoint = name_of(folder)
        self.saved.append(folder)
        if len(self.saved) > checkpoint.KEPT:
            remove_checkpoint(self.saved.pop(0))

    def says(self, **more: str) -> Verdict:
        """Reports the epochs since the message before."""
        epochs = tuple(self.history[self.told :])
        self.told += len(epochs)
        name = "" if more else self.checkpoint
        return self.driver.heard(Message(self.number, epochs, name, HERE, **more))

    def reports(self, epochs: int = 1) -> Verdict:
        """Trains, saves and reports so many epochs at once."""
        for _ in range(epochs):
            self.train()
        self.save()
        return self.says()

    def meets_its_fate(self) -> bool:
        """Ends as it is to, after two epochs, of which the second is not saved."""
        match self.fate:
            case "fails":
                self.says(failure="loss nan in epoch 3")
            case "finds no room":
                self.says(out_of_memory="out of memory")
            case "dies":
                self.driver.worker_failed(self.number, "a signal", "last words")
            case "dies once" if self.number not in self.session.ended_lives:
                self.session.ended_lives.add(self.number)
                self.driver.worker_failed(self.number, "a signal", "last words")
            case _:
                return False
        return True


def name_of(folder: UPath) -> str:
    """Of a checkpoint."""
    return "/".join(folder.parts[-DEPTH:])


def write_checkpoint(folder: UPath, history: list[dict[str, Any]], config: Any) -> None:
    """A checkpoint as of a fit; without waiting for the disk."""
    content = io.BytesIO()
    state = {"epoch": len(history), "history": history, "config": dict(config)}
    torch.save(state, content)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / checkpoint.FILE).write_bytes(content.getvalue())


def remove_checkpoint(folder: UPath) -> None:
    (folder / checkpoint.FILE).unlink()
    folder.rmdir()
