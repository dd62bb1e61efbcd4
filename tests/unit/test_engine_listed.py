"""Listed configurations are proposed one after the other, also when a study goes on."""

from happened import began

from engine.agenda import Agenda
from engine.budgets import Limits
from engine.history import History
from engine.listed import Listed
from engine.space import Space
from record.appender import Appender
from record.log import MemoryLog
from record.state import fold
from record.trial import Baseline, Searched
from trainables.models.gnn import GNNConfig

GIVEN = {"family": ["gcn", "gat"], "heads": [2, 3]}
SPACE = Space.of(GNNConfig, "family", GIVEN, only=GIVEN).grid()


class Going:
    """A study of listed configurations, whose log outlives its sessions."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.sessions = 0

    def begin(self) -> Listed:
        """A new process goes on from the log."""
        self.sessions += 1
        self.history = History(Appender(self.log), fold(self.log.read()))
        self.history.add(began(self.sessions))
        return Listed(self.history.state, SPACE)

    def propose(self, listed: Listed) -> None:
        self.history.add(listed.propose(self.history.now()))


def test_each_is_proposed_once_also_by_another_session() -> None:
    study = Going()
    first = study.begin()
    study.propose(first)
    study.propose(first)
    study.propose(study.begin())
    trials = fold(study.log.read()).trials()
    assert tuple(GNNConfig(**trial.config) for trial in trials) == SPACE.listed
    assert [trial.role for trial in trials] == [Baseline(0), Baseline(1), Searched(2)]
    assert [dict(trial.drawn) for trial in trials] == [
        {"family": "gcn"},
        {"family": "gat", "heads": 2},
        {"family": "gat", "heads": 3},
    ]
    assert trials[2].title == GNNConfig(family="gat", heads=3).title


def test_nothing_is_proposed_after_the_last_one() -> None:
    study = Going()
    listed = study.begin()
    agenda = Agenda(study.history.state, listed, Limits(3))
    for number in range(3):
        assert agenda.wants_another()
        study.propose(listed)
        assert len(listed.trials()) == number + 1
    assert not agenda.wants_another()
