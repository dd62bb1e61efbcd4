"""Begins to score trials on the test split while the last finals run."""

from engine.agenda import Agenda
from engine.prepare import Prepared
from engine.retention import retained
from engine.scoring import ToScore
from record.trial import Trial


class EarlyScoring:
    """Scores finished trials while slots idle; an observer of `engine.driver.Driver`.

    The last finals leave slots idle, and which trials will be scored is settled by then, apart
    from those finals. Nothing is recorded before the finals have ended: `engine.keep` does that.

    Args:
        prepared: The study, in a session.
        agenda: Queue of the trials to run.
    """

    def __init__(self, prepared: Prepared, agenda: Agenda) -> None:
        self.study = prepared.command.study
        self.state = prepared.open.state
        self.backend = prepared.backend
        self.checkpoints = prepared.checkpoints
        self.agenda = agenda

    def changed(self, trial: Trial) -> None:
        """Begins to score what can be scored, if a final has ended and its slot stays idle.

        Raises:
            OSError: If the checkpoints cannot be read.
        """
        if self.study.scorecard is None or trial.is_open or trial.replicate_of is None:
            return
        if 0 < self.agenda.total - self.agenda.ended < self.backend.concurrent_trials():
            self.backend.begin_scoring(self._scorable(), self.study.scorecard)

    def _scorable(self) -> list[ToScore]:
        settled = retained(self.state, self.study.group_by, count=0) - self.state.discarded
        found = {n: self.checkpoints.latest(n) for n in settled - self.state.scores.keys()}
        return [ToScore(self.state.trial(n), str(found[n])) for n in sorted(found) if found[n]]
