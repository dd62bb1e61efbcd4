"""Simulates studies without training: real drivers, checkpoints and logs, but invented results."""

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
"""Offset of the objective for each fate; trials that end without a result get a high one, so that
they are not stopped early before."""


class Clock:
    """A clock that shows the time to which a test sets it.

    Attributes:
        seconds: Seconds since the beginning of the study.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return BEGUN + timedelta(seconds=self.seconds)


class Killed(BaseException):
    """Raised to simulate that the driver is killed; the code under test never catches it."""


class MortalLog(MemoryLog):
    """A log in memory whose driver is killed at a chosen append.

    Attributes:
        appends_left: Number of appends before the one at which the driver is killed; None: never.
        is_written_first: Whether that append is written before the driver is killed.
    """

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
    """Kills the driver when a moment comes again after a number of times.

    Attributes:
        moment: The moment; None: the driver is not killed.
        times: How often the moment passes before the driver is killed.
    """

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
    """An observer of the driver that stores every change of a trial.

    Attributes:
        death: Kills the driver after a change, if it is set to.
        trials: Trials after each change, in order.
    """

    death: Death
    trials: list[Trial] = field(default_factory=list)

    def changed(self, trial: Trial) -> None:
        self.trials.append(trial)
        self.death.look("a change is told")


def row(number: int, config: Any, epoch: int, fate: Fate = "finishes") -> dict[str, Any]:
    """Makes the row of an epoch; it depends on the arguments only."""
    value = score(config) + config.seed / 64 + epoch / 128 + LUCK[fate]
    when = UNIX_MS + 1000 * epoch + number
    return {OBJECTIVE: value, "epoch": epoch, "unix_ms": when, "memory_gib": 0.25}


class Study:
    """Everything of a study that outlives a session: log, checkpoints and tracker.

    Args:
        folder: Folder of the checkpoints.
        log: The log; None: one in memory.
        fates: Fates of trials, by trial number; the other trials finish.
        every: Number of epochs in a message.
        stops_early: Whether the search stops trials early.
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
        """Starts a new session, which continues the study as a new process would."""
        return Session(self, **more)


def small_space() -> Space:
    """Makes the search space of the simulated studies: two families, `EPOCHS` epochs."""
    given = {"family": ["gcn", "gat"], "epochs": [EPOCHS]}
    return Space.of(RecordedConfig, "family", given)  # pyright: ignore[reportArgumentType]


class Session:
    """A session of a simulated study: what one process of the driver does with its trials.

    Args:
        study: The study to continue.
        keep: Number of the best finished trials whose checkpoints are kept.
    """

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
        """Makes the driver of a search with `total` trials."""
        state = self.history.state
        memory = SearchMemory(self.study.space, "tpe", seed, OBJECTIVE, trials=state.search())
        halving = Halving(state, rungs(EPOCHS)) if self.study.stops_early else None
        return self.driver(Search(state, memory), total, halving=halving, **more)

    def finals(self, count: int, seeds: int, **more: Any) -> Driver:
        """Makes the driver of the finals: `count` finalists with `seeds` replicates each."""
        proposer = Replicates(self.history.state, self.study.space, count, seeds)
        return self.driver(proposer, proposer.total, **more)

    def driver(self, proposer: Proposer, total: int, **more: Any) -> Driver:
        allowed = {name: more.pop(name) for name in ("target", "plateau") if name in more}
        more = {"max_failures": 1, "notify": self.said.append, **more}
        observers = (self.retention, self.seen, self.projection)
        agenda = Agenda(self.history.state, proposer, Limits(total, **allowed))
        return Driver(self.history, agenda, self.checkpoints, CODE, observers, **more)

    def end(self) -> list[int]:
        """Records the end of the session; returns the numbers of trials that the tracker does not
        fully know."""
        self.history.add(ended_session(self.number, "KILLED"))
        return self.projection.finish(patience=5.0)

    def play(self, driver: Driver, most: int | None = None) -> None:
        """Runs trials one after another until none is left, or at most `most` of them."""
        while most != 0 and not isinstance(trial := driver.next(), Nothing):
            Fit(self, driver, driver.begin(trial)).run()
            most = None if most is None else most - 1

    def play_all(self, driver: Driver) -> None:
        """Runs all trials, at last those that have to run alone, and finishes the driver."""
        self.play(driver)
        while driver.agenda.begin_alone():
            self.play(driver)
        driver.finish()


class Fit:
    """The simulated process of one trial: does the work of `trainables.worker.Worker` without
    training."""

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
        """Trains and reports until the trial ends or the driver stops it."""
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
        """Returns whether a report is due after the latest epoch."""
        epochs, every = len(self.history), self.session.study.every
        return epochs - self.told >= every or epochs in (*self.spec.rungs, EPOCHS)

    def train(self) -> None:
        """Appends the row of the next epoch to the history."""
        epoch = len(self.history) + 1
        self.history.append(row(self.number, self.spec.config, epoch, self.fate))

    def save(self) -> None:
        """Writes a checkpoint, and removes the oldest if there are more than are kept."""
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
        """Reports the epochs since the previous message; returns the driver's verdict."""
        epochs = tuple(self.history[self.told :])
        self.told += len(epochs)
        name = "" if more else self.checkpoint
        return self.driver.heard(Message(self.number, epochs, name, HERE, **more))

    def reports(self, epochs: int = 1) -> Verdict:
        """Trains a number of epochs, saves and reports them; returns the driver's verdict."""
        for _ in range(epochs):
            self.train()
        self.save()
        return self.says()

    def meets_its_fate(self) -> bool:
        """Ends the trial by its fate, if that applies now; returns whether the trial has ended.

        It is called after the second epoch, before that epoch is saved.
        """
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
    """Returns the name of the checkpoint in a folder, ``SESSION/TRIAL/checkpoint_N``."""
    return "/".join(folder.parts[-DEPTH:])


def write_checkpoint(folder: UPath, history: list[dict[str, Any]], config: Any) -> None:
    """Writes a checkpoint without weights, and without waiting for the disk."""
    content = io.BytesIO()
    state = {"epoch": len(history), "history": history, "config": dict(config)}
    torch.save(state, content)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / checkpoint.FILE).write_bytes(content.getvalue())


def remove_checkpoint(folder: UPath) -> None:
    (folder / checkpoint.FILE).unlink()
    folder.rmdir()
