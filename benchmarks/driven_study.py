"""A study that a benchmark drives itself: the project's own log, MLflow and Optuna in a folder,
without a command line, data, or anything to train."""

import time
from dataclasses import replace
from datetime import UTC, datetime

from engine.agenda import Agenda
from engine.budgets import Limits
from engine.checkpoints import Checkpoints, as_upath
from engine.driver import Driver
from engine.early_stopping import Halving
from engine.opening import open_study
from engine.projection import Projection
from engine.proposers import Search
from engine.provenance import Code
from engine.retention import Retention
from engine.rungs import rungs
from engine.search_memory import SearchMemory
from engine.space import Space
from record import names
from record.events import Proposed, SessionBegan
from record.folder import StudyFolder
from record.state import StudyState
from record.trial import Trial
from record.values import plain
from trainables.trial_spec import TrialSpec

OBJECTIVE = "validation/r2"
KEPT = 5
"""Trials of which checkpoints are kept."""

PATIENCE = 60.0
"""Seconds that MLflow may take to be told what waits."""


class TimedSearch(Search):
    """A search that adds up the processor seconds that its proposals take."""

    seconds = 0.0

    def propose(self, at: datetime) -> Proposed:
        """Proposes what the sampler draws."""
        begun = time.thread_time()
        proposed = super().propose(at)
        self.seconds += time.thread_time() - begun
        return proposed


class PacedDriver(Driver):
    """A driver whose trials report as often as a benchmark says.

    Attributes:
        report_every: Seconds after which a trial reports, at the end of the epoch; 0: after each
            epoch.
    """

    report_every = 0.0

    def begin(self, trial: Trial, at_once: int = 0) -> TrialSpec:
        """Begins a trial as `Driver` does, but for how often it reports."""
        return replace(super().begin(trial, at_once), report_every=self.report_every)


class DrivenStudy:
    """A study in its first session; an observer of its own trials.

    Args:
        folder: For everything of it.
        space: What is searched.
        trials: How many.
        report_every: See `PacedDriver`.

    Attributes:
        state: What it has come to.
        search: What proposes its trials.
        driver: What a backend asks for trials.
    """

    def __init__(
        self, folder: StudyFolder, space: Space, trials: int, report_every: float = 0.0
    ) -> None:
        self.space = space
        uri = f"sqlite:///{folder.database}"
        self.opened = open_study(folder, uri, self._begin, print)
        history = self.opened.history
        self.state = history.state
        self.search = TimedSearch(self.state, SearchMemory(space, "tpe", 0, OBJECTIVE))
        checkpoints = Checkpoints(as_upath(str(folder.sessions)))
        retention = Retention(self.state, checkpoints, "family", KEPT)
        agenda = Agenda(self.state, self.search, Limits(trials))
        observers = (retention, self)
        halving = Halving(self.state, rungs(space.epochs))
        code = Code("none", {})
        self.driver = PacedDriver(history, agenda, checkpoints, code, observers, halving)
        self.driver.report_every = report_every
        self.projection = self._projection()

    def changed(self, trial: Trial) -> None:
        """See `engine.driver.Observer`: MLflow is told in the background."""
        self.projection.changed(trial)

    def deliver(self) -> None:
        """Returns once the log and MLflow know everything.

        Raises:
            RuntimeError: If MLflow does not take it.
        """
        self.opened.history.flush()
        if left := self.projection.finish(PATIENCE):
            raise RuntimeError(f"MLflow was not told of trials {left}: {self.projection.problem}")
        self.projection = self._projection()

    def close(self) -> None:
        """Ends the session, and everything that runs for it."""
        self.driver.finish()
        self.deliver()
        self.projection.finish(0)

    def _projection(self) -> Projection:
        """Begins to tell MLflow in the background."""
        return Projection(self.opened.tracker, self.opened.history, print)

    def _begin(self, state: StudyState) -> SessionBegan:
        """Begins the one session that there is."""
        del state  # it is new
        return SessionBegan(
            session="session-0001",
            identity="driven",
            objective=OBJECTIVE,
            direction="maximize",
            spec={names.DIGEST: "none"},
            space=plain(self.space.searched()),
            settings={names.QUESTION: "What does it cost?", names.DATA_TITLE: "none"},
            at=datetime.now(UTC),
        )
