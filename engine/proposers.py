"""Proposers: the sources of a session's trials; the finals' one is in engine/replicates.py."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Protocol

from engine.search_memory import SearchMemory
from engine.space import Space
from record.events import Event, Proposed
from record.state import StudyState
from record.trial import Trial
from record.values import plain


class Proposer(Protocol):
    """Interface of a source of trials.

    Attributes:
        called: Word for its trials in messages to the user: ``trials`` or ``finals``.
        stops_early: True if unpromising trials may be stopped early.
        space: Search space of the study.
    """

    called: str
    stops_early: bool
    space: Space

    @property
    def total(self) -> int | None:
        """Number of its trials in all, earlier sessions included; None if it has no end."""
        ...

    def trials(self) -> tuple[Trial, ...]:
        """Returns the trials proposed so far, in this session or an earlier one, by number."""
        ...

    def propose(self, at: datetime) -> Proposed:
        """Proposes one trial, which gets the next number of the study.

        Args:
            at: Time of the proposal, in UTC.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Learns from a trial of this proposer that has ended."""
        ...

    def due(self, at: datetime) -> Iterable[Event]:
        """Yields the events that follow from the results so far and are not in the log yet.

        Args:
            at: Time of the events, in UTC.
        """
        ...


class Search:
    """A proposer that draws configurations from a sampler.

    Args:
        state: State of the study.
        memory: Sampler with the search trials of this state.
    """

    called = "trials"
    stops_early = True
    total = None

    def __init__(self, state: StudyState, memory: SearchMemory) -> None:
        self.state = state
        self.memory = memory
        self.space = memory.space

    def trials(self) -> tuple[Trial, ...]:
        """Returns the trials of the search so far, by number."""
        return self.state.search()

    def propose(self, at: datetime) -> Proposed:
        """Proposes the configuration that the sampler draws next."""
        draw = self.memory.ask()
        return Proposed(
            number=self.state.next_number,
            config=plain(asdict(draw.config)),
            drawn=plain(draw.drawn),
            role=draw.role,
            at=at,
            inactive=plain(draw.inactive),
            title=draw.config.title,
        )

    def tell(self, trial: Trial) -> None:
        """Reports the result of a trial to the sampler."""
        self.memory.tell(trial)

    def due(self, at: datetime) -> Iterable[Event]:
        """Returns nothing: all that follows from results is what is proposed."""
        del at
        return ()
