"""Which trials are scored while the last finals run, and when that begins."""

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
    """

    def __init__(self, scorecard: Any = "there is one") -> None:
        self.state = StudyState()
        self.state.apply(began())
        self.begun: list[list[int]] = []
        self.agenda = SimpleNamespace(total=3, ended=0)
        prepared = SimpleNamespace(
            command=SimpleNamespace(study=SimpleNamespace(group_by="family", scorecard=scorecard)),
            open=SimpleNamespace(state=self.state),
            backend=self,
            checkpoints=SimpleNamespace(latest=lambda n: f"checkpoint of {n}" if n != 4 else None),
        )
        self.observer = EarlyScoring(cast(Prepared, prepared), cast(Agenda, self.agenda))
        self.trial(Baseline(0))
        self.trial(None)

    def concurrent_trials(self) -> int:
        return SLOTS

    def begin_scoring(self, asked: Sequence[ToScore], scorecard: Any) -> None:
        assert scorecard == "there is one"
        assert [each.checkpoint for each in asked] == [
            f"checkpoint of {each.trial.number}" for each in asked
        ]
        self.begun.append([each.trial.number for each in asked])

    def trial(self, role: Role | None) -> None:
        number = self.state.next_number
        known = proposed(number, role, family="gcn"), placed(number), reported(number, 1, 2)
        for event in (*known, ended(number, r2=0.5)):
            self.state.apply(event)
            self.observer.changed(self.state.trial(number))

    def final(self, seed: int) -> None:
        self.agenda.ended += 1
        self.trial(Replicate(0, seed))


def test_scoring_begins_once_a_slot_stays_idle_and_not_at_the_end() -> None:
    played = Played()
    played.agenda.ended = 2
    played.trial(None)
    assert played.begun == [], "the search may still find a better one"
    played.agenda.ended = 0
    played.final(1)
    assert played.begun == [], "two finals are left for two slots"
    played.state.apply(Discarded(0, ended(0).at))
    played.final(2)
    best, finals = 2, [3]  # the last of equal trials; final 4 has no checkpoint
    assert played.begun == [[best, *finals]]
    played.final(3)
    assert len(played.begun) == 1


def test_a_study_without_a_scorecard_scores_nothing() -> None:
    played = Played(scorecard=None)
    played.final(1)
    played.final(2)
    assert played.begun == []
