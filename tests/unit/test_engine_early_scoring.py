"""Which trials are scored while the last trials run, and when that begins."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from happened import began, ended, placed, proposed, reported

from engine.agenda import Agenda
from engine.early_scoring import EarlyScoring
from engine.prepare import Prepared
from engine.scoring import ToScore
from record.events import Discarded
from record.state import StudyState
from record.trial import Baseline, Replicate, Role

SLOTS = 2


class Played:
    """A study of two trials of one family, the first of which is the baseline, and of its finals.

    Attributes:
        begun: Numbers of the trials whose scoring was begun, in one list a time.
        gone: Number of a trial without a checkpoint.
    """

    gone: int | None = None

    def __init__(self, scorecard: Any = "there is one") -> None:
        self.state = StudyState()
        self.state.apply(began())
        self.begun: list[list[int]] = []
        self.agenda = SimpleNamespace(total=3, ended=0)
        prepared = SimpleNamespace(
            command=SimpleNamespace(study=SimpleNamespace(group_by="family", scorecard=scorecard)),
            open=SimpleNamespace(state=self.state),
            backend=self,
            checkpoints=SimpleNamespace(latest=self.latest),
        )
        self.observer = EarlyScoring(cast(Prepared, prepared), cast(Agenda, self.agenda))
        self.trial(Baseline(0))
        self.trial(None)

    def latest(self, number: int) -> str | None:
        return None if number == self.gone else f"checkpoint of {number}"

    def concurrent_trials(self) -> int:
        return SLOTS

    def begin_scoring(self, asked: Sequence[ToScore], scorecard: Any, idle: int) -> None:
        assert (scorecard, idle) == ("there is one", 1)
        assert [each.checkpoint for each in asked] == [
            f"checkpoint of {each.trial.number}" for each in asked
        ]
        self.begun.append([each.trial.number for each in asked])

    def trial(self, role: Role | None, family: str = "gcn", ends: bool = True) -> None:
        number = self.state.next_number
        known = [proposed(number, role, family=family), placed(number), reported(number, 1, 2)]
        for event in [*known, ended(number, r2=0.5)][: None if ends else len(known)]:
            self.state.apply(event)
            self.observer.changed(self.state.trial(number))

    def final(self, seed: int) -> None:
        self.agenda.ended += 1
        self.trial(Replicate(0, seed))


def test_scoring_begins_once_a_slot_stays_idle_and_not_at_the_end() -> None:
    played = Played()
    played.gone = 3
    played.begun.clear()
    played.agenda.ended = 0
    played.final(1)
    assert played.begun == [], "two finals are left for two slots"
    played.state.apply(Discarded(0, ended(0).at))
    played.final(2)
    best, finals = 1, [2]  # the last of equal trials; final 3 has no checkpoint
    assert played.begun == [[best, *finals]]
    played.final(3)
    assert len(played.begun) == 1


def test_at_the_end_of_a_search_the_groups_that_no_trial_runs_in_are_scored() -> None:
    played = Played()
    played.agenda.ended = 2
    played.trial(None, family="gat", ends=False)
    played.trial(None, family="gin")
    settled = [0, 1, 3]  # the baseline and the best of gcn, and the best of gin
    assert played.begun == [settled]
    played.trial(None, family="gcn", ends=False)
    played.trial(None, family="gin")
    baseline, best = 0, 5
    assert played.begun[1:] == [[baseline, best]], "the running trial of gcn may become its best"


def test_a_study_without_a_scorecard_scores_nothing() -> None:
    played = Played(scorecard=None)
    played.final(1)
    played.final(2)
    assert played.begun == []
