"""Stores in MLflow what the analyses need: model weights and outcomes on the test split."""

import tempfile
from functools import cached_property
from pathlib import Path

from datasets.errors import InputError
from engine.prepare import Prepared
from engine.retention import retained
from engine.scoring import ToScore
from record.events import Scored
from record.mlflow_tracker import not_recorded
from record.outcomes import FILE, Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Trial
from trainables import checkpoint

SCORE = "test/score"
"""Name in the log of a trial's score on the test split."""


def keep(prepared: Prepared, study: RecordedStudy) -> None:
    """Stores weights and test-split outcomes in MLflow.

    It does so for the best finished trial and the baseline of each group, and for all finals.

    Args:
        prepared: The study, in a session.
        study: The recorded study.

    Raises:
        NotRecorded: If MLflow cannot be written to.
        OSError: If the log cannot be written, or a checkpoint cannot be read.
    """
    keeper = _Keeper(prepared, study)
    keeper.keep_weights()
    keeper.score()


class _Keeper:
    def __init__(self, prepared: Prepared, study: RecordedStudy) -> None:
        self.command = prepared.command
        self.open = prepared.open
        self.state = prepared.open.state
        self.checkpoints = prepared.checkpoints
        self.backend = prepared.backend
        self.study = study

    @cached_property
    def shown(self) -> set[int]:
        """Numbers of the trials that the analyses need and that have a run in MLflow."""
        there = self.open.tracker.numbers() - self.state.discarded
        return retained(self.state, self.command.study.group_by, count=0) & there

    def keep_weights(self) -> None:
        """Stores weights in MLflow; notifies the user of missing checkpoints."""
        for number in sorted(self.shown):
            folder = self.checkpoints.latest(number)
            if folder is None:
                self.command.notify(f"trial {number}: its checkpoint is gone")
                continue
            with tempfile.TemporaryDirectory() as scratch:
                weights = Path(scratch) / "weights"
                checkpoint.export_weights(folder, weights)
                epochs = self.state.trial(number).config["epochs"]
                if checkpoint.load_weights(weights)["epoch"] != epochs:
                    self.command.notify(
                        f"trial {number}: the checkpoint of its last epoch is gone"
                    )
                    continue
                self.open.tracker.attach(number, weights)

    def score(self) -> None:
        """Scores the trials that have no outcomes yet, and logs the scores."""
        if (scorecard := self.command.study.scorecard) is None:
            return
        with not_recorded(network=False):
            shown = [t for t in self.study.every if t.number in self.shown]
            known = [(trial, self._outcomes(trial)) for trial in shown]
        for trial, outcomes in known:
            if outcomes is not None:  # a killed session may have stored but not logged them
                self._log(trial, outcomes)
        asked = [self._to_score(trial) for trial, outcomes in known if outcomes is None]
        if asked := [each for each in asked if each is not None]:
            trials = f"{len(asked)} trial{'s' * (len(asked) > 1)}"
            self.command.notify(f"scoring {trials} on the test split")
            found = self.backend.score_all(asked, scorecard)
            for each, outcomes in zip(asked, found, strict=True):
                self._take(each.trial, outcomes)

    def _outcomes(self, trial: Trial) -> Outcomes | None:
        """Returns the stored outcomes of a trial; None if there are none or they are damaged."""
        try:
            return self.study.artifacts.outcomes(trial)
        except InputError as error:
            self.command.notify(str(error))
            return None

    def _to_score(self, trial: Trial) -> ToScore | None:
        folder = self.checkpoints.latest(trial.number)
        return None if folder is None else ToScore(trial, str(folder))

    def _take(self, trial: Trial, outcomes: Outcomes | str) -> None:
        if isinstance(outcomes, str):
            self.command.notify(f"trial {trial.number} was not scored: {outcomes}")
            return
        with not_recorded(network=False):
            self.study.artifacts.keep_outcomes(trial, outcomes)
        self._log(trial, outcomes)

    def _log(self, trial: Trial, outcomes: Outcomes) -> None:
        if trial.number not in self.state.scores:
            score, now = {SCORE: outcomes.score}, self.open.history.now()
            self.open.history.add(Scored(trial.number, score, FILE, now))
