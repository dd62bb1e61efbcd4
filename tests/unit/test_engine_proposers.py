"""Driver of a session, of the search and of its finals, are proposed as they were of old."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from happened import UNIX_MS, began
from old_proposals import RECORDINGS, Recording, recorded
from played import CODE, HERE, OBJECTIVE, small_space
from recorded_space import RecordedConfig, recorded_space

import engine.search_memory
from engine.agenda import Agenda
from engine.budgets import Limits
from engine.checkpoints import Checkpoints, as_upath
from engine.driver import Driver, Nothing, Verdict
from engine.early_stopping import Halving
from engine.history import History
from engine.proposers import Search
from engine.replicates import Replicates
from engine.search_memory import SearchMemory
from record.appender import Appender
from record.log import MemoryLog
from record.state import StudyState, fold
from record.trial import Baseline, Replicate, Searched, Trial
from trainables.message import Message

DEFAULT = asdict(RecordedConfig())


class AsItWent(Halving):
    """Stops the trials that it is told to."""

    poor: AbstractSet[int] = frozenset()

    def is_behind(self, trial: Trial) -> bool:
        return trial.number in self.poor


class Replayed:
    """A recorded study, played again with several trials at once."""

    def __init__(self, recording: Recording, folder: Path) -> None:
        self.recording = recording
        self.space = recorded_space(recording.baseline)
        self.log = MemoryLog()
        self.checkpoints = Checkpoints(as_upath(str(folder)))
        self.driver: Driver | None = None
        self.sessions = 0

    def begin(self, total: int) -> None:
        """A new process searches until there are so many trials."""
        self.finish()
        self.sessions += 1
        self.history = History(Appender(self.log), fold(self.log.read()))
        self.history.add(began(self.sessions))
        state, chosen = self.history.state, self.recording
        memory = SearchMemory(
            self.space, chosen.sampler, chosen.seed, OBJECTIVE, trials=state.search()
        )
        self.driver = self.of(Search(state, memory), total)

    def begin_finals(self) -> None:
        """The search is done."""
        self.finish()
        proposer = Replicates(self.history.state, self.space, count=2, seeds=3)
        self.driver = self.of(proposer, proposer.total)

    def of(self, proposer: Search | Replicates, total: int) -> Driver:
        agenda = Agenda(self.history.state, proposer, Limits(total))
        agenda.begin_alone()
        self.halving = AsItWent(self.history.state, ())
        return Driver(self.history, agenda, self.checkpoints, CODE, halving=self.halving)

    def finish(self) -> None:
        if self.driver is not None:
            self.driver.finish()

    def next(self) -> Any:
        """The next trial gets its place."""
        assert self.driver is not None
        trial = self.driver.next()
        assert not isinstance(trial, Nothing)
        self.driver.begin(trial)
        self.driver.placed(trial.number)
        return trial

    def end(self, number: int, status: str, value: float | None, epoch: int) -> None:
        assert self.driver is not None
        if status == "failed":
            self.driver.failed(number, "so it goes")
        elif value is None:
            self.driver.out_of_memory(number, "so it goes")
        else:
            self.halving.poor = {number} if status == "pruned" else set()
            rows = tuple(epoch_of(each, value) for each in range(1, epoch + 1))
            assert self.driver.heard(Message(number, rows, "c", HERE)) is Verdict.STOP
        assert self.history.state.trial(number).status == status


def epoch_of(epoch: int, value: float) -> Mapping[str, Any]:
    return {"epoch": epoch, "unix_ms": UNIX_MS, "memory_gib": 0.25, OBJECTIVE: value}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recorded_study_goes_as_it_went_of_old(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four trials at once; sessions that leave trials, which go on first; finals in between: the
    same numbers, in the same order, with the same configurations."""
    recording = RECORDINGS[name]
    monkeypatch.setattr(engine.search_memory, "LEARNT", recording.learnt)
    monkeypatch.setattr(engine.search_memory, "BEST", recording.best)
    study, finals = Replayed(recording, tmp_path), 0
    for happening in recorded(name):
        match happening:
            case {"session": total}:
                study.begin(total)
            case {"continued": number}:
                assert study.next().number == number
            case {"proposed": number, "of": of, "config": config}:
                if study.driver is not None and isinstance(study.driver.agenda.proposer, Search):
                    study.begin_finals()
                trial = study.next()
                assert (trial.number, trial.role) == (number, Replicate(of, config["seed"]))
                assert trial.config == pytest.approx(DEFAULT | config, rel=1e-9)
                finals += 1
            case {"proposed": number, "role": role, "config": config, "drawn": drawn}:
                trial = study.next()
                assert trial.number == number
                assert trial.config == pytest.approx(DEFAULT | config, rel=1e-9)
                assert trial.drawn == pytest.approx(drawn, rel=1e-9)
                assert isinstance(trial.role, Baseline) == (role == "baseline")
            case {"ended": number, "state": status, "value": value}:
                study.end(number, status, value, happening.get("epoch", 15))
    study.finish()
    state = fold(study.log.read())
    assert state.trials() == study.history.state.trials()
    assert (state.next_index, state.next_number) == (200, 200 + finals)


def test_a_proposal_is_the_same_in_the_state_and_in_the_log() -> None:
    """Plain values: a list would be read as a tuple."""
    state, log = StudyState(), MemoryLog()
    history = History(Appender(log), state)
    history.add(began())
    space = small_space()
    proposer = Search(state, SearchMemory(space, "tpe", 0, OBJECTIVE))
    for _ in range(3):
        history.add(proposer.propose(history.now()))
    assert [trial.role for trial in proposer.trials()] == [Baseline(0), Baseline(1), Searched(2)]
    again = fold(log.read())
    assert again.trials() == state.trials()
    assert [space.config(**trial.config) for trial in again.trials()][:2] == [
        space.default("gcn"),
        space.default("gat"),
    ]
