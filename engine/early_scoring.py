"""Begins to score trials on the test split while the last trials of a search or the finals run."""

from engine.agenda import Agenda
from engine.prepare import Prepared
from engine.retention import retained
from engine.scoring import ToScore
from record.trial import Searched, Trial


class EarlyScoring:
    """Scores finished trials while slots idle; an observer of `engine.driver.Driver`.

    The last trials leave slots idle, and which trials will be scored is settled by then, apart
    from those that run and the best of their groups. Nothing is recorded before the last trial has
    ended: `engine.keep` does that.

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
        """Begins to score what can be scored, if a trial has ended and its slot stays idle.

        Raises:
            OSError: If the checkpoints cannot be read.
        """
        if self.study.scorecard is None or trial.is_open:
            return
        left = self.agenda.total - self.agenda.ended
        if left and (idle := self.backend.concurrent_trials() - left) > 0:
            self.backend.begin_scoring(self._scorable(), self.study.scorecard, idle)

    def _scorable(self) -> list[ToScore]:
        asked = retained(self.state, self.study.group_by, count=0) - self.state.discarded
        settled = {n for n in asked - self.state.scores.keys() if self._is_settled(n)}
        found = {n: self.checkpoints.latest(n) for n in settled}
        return [ToScore(self.state.trial(n), str(found[n])) for n in sorted(found) if found[n]]

    def _is_settled(self, number: int) -> bool:
        """Returns False for the best of a group in which a trial of the search still runs."""
        trial, group_by = self.state.trial(number), self.study.group_by
        if not isinstance(trial.role, Searched):
            return True
        group = trial.config[group_by]
        return all(t.config[group_by] != group for t in self.state.search() if t.is_open)
