"""Which trials keep their checkpoint."""

from pathlib import Path

import pytest
from happened import began, ended, placed, proposed, report

from engine.checkpoints import Checkpoints, as_upath
from engine.retention import Retention, retained
from record.events import Ended
from record.state import StudyState
from record.trial import Baseline, Replicate, Role
from trainables import checkpoint
from trainables.trial_spec import trial_folder


class Played:
    """A study whose trials have a checkpoint each."""

    def __init__(self, folder: Path, direction: str = "maximize") -> None:
        self.state = StudyState()
        self.state.apply(began(direction=direction))
        self.root = as_upath(str(folder))

    def trial(self, family: str, value: float | None, role: Role | None = None) -> int:
        """A trial runs to its end."""
        number = self.state.next_number
        for event in (proposed(number, role, family=family), placed(number)):
            self.state.apply(event)
        for epoch in (1, 2):
            name = f"session-0001/{trial_folder(number)}/checkpoint_{epoch:06d}"
            checkpoint.save(self.root / name, {"epoch": epoch})
        self.state.apply(self.ending(number, value))
        return number

    def ending(self, number: int, value: float | None) -> Ended:
        if value is None:
            return ended(number, "failed")
        return Ended(number, "finished", ended(number).at, "", (report(1, value),))

    def there(self) -> dict[int, int]:
        """Number -> how many checkpoints there are."""
        known = Checkpoints(self.root)
        count = {number: len(known.of_trial(number)) for number in range(self.state.next_number)}
        return {number: found for number, found in count.items() if found}


@pytest.mark.parametrize(("direction", "best"), [("maximize", {3, 5}), ("minimize", {2, 4})])
def test_the_best_and_what_the_analyses_look_at_are_kept(
    tmp_path: Path, direction: str, best: set[int]
) -> None:
    played = Played(tmp_path, direction)
    values = {"gcn": 0.5, "gat": 0.5}
    for index, (family, value) in enumerate(values.items()):
        played.trial(family, value, Baseline(index))
    for family, value in (("gcn", 0.2), ("gcn", 0.8), ("gat", 0.1), ("gat", 0.9), ("gin", 0.5)):
        played.trial(family, value)
    played.trial("gin", None)
    of_group_gin = {6}
    assert retained(played.state, "family", 0) == {0, 1} | best | of_group_gin
    assert retained(played.state, "family", 100) == set(range(7))


def test_of_equal_trials_the_later_one_is_kept(tmp_path: Path) -> None:
    played = Played(tmp_path)
    for _ in range(3):
        played.trial("gcn", 0.5)
    assert retained(played.state, "family", 1) == {2}


def test_whatever_was_trained_beside_the_search_is_kept_and_is_not_compared(
    tmp_path: Path,
) -> None:
    played = Played(tmp_path)
    played.trial("gcn", 0.1)
    for role in (Replicate(0, 1), Replicate(0, 2)):
        played.trial("gcn", 0.9, role)
    assert retained(played.state, "family", 1) == {0, 1, 2}


def test_checkpoints_go_when_their_trial_is_among_the_best_no_more(tmp_path: Path) -> None:
    played = Played(tmp_path)
    retention = Retention(played.state, Checkpoints(played.root), "family", 1)
    expected = [{0: 1}, {1: 1}, {1: 1}, {1: 1, 3: 1}, {1: 1, 3: 1}]
    trials = [("gcn", 0.1), ("gcn", 0.5), ("gcn", 0.3), ("gat", 0.0), ("gcn", None)]
    for (family, value), left in zip(trials, expected, strict=True):
        number = played.trial(family, value)
        retention.checkpoints = Checkpoints(played.root)
        retention.changed(played.state.trial(number))
        assert played.there() == left


def test_a_trial_that_goes_on_keeps_all(tmp_path: Path) -> None:
    played = Played(tmp_path)
    retention = Retention(played.state, Checkpoints(played.root), "family", 0)
    number = played.trial("gcn", None)
    going_on = StudyState()
    for event in (began(), proposed(0), placed(0)):
        going_on.apply(event)
    retention.changed(going_on.trial(0))
    assert played.there() == {number: 2}


def test_what_a_session_that_was_cut_off_left_is_swept(tmp_path: Path) -> None:
    played = Played(tmp_path)
    for value in (0.3, 0.1, None, 0.2):
        played.trial("gcn", value)
    assert played.there() == {0: 2, 1: 2, 2: 2, 3: 2}
    Retention(played.state, Checkpoints(played.root), "family", 2).sweep()
    assert played.there() == {0: 1, 3: 1}
