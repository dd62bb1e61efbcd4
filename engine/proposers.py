"""Where the trials of a session come from: see also engine/replicates.py."""

from dataclasses import asdict
from datetime import datetime
from typing import Protocol

from engine.search_memory import SearchMemory
from engine.space import Space
from record.events import Proposed
from record.state import StudyState
from record.trial import Trial
from record.values import plain


class Proposer(Protocol):
    """What all proposers can do.

    Attributes:
        called: What the user knows its trials as.
        stops_early: Whether unpromising ones may be stopped.
        space: Of the study.
    """

    called: str
    stops_early: bool
    space: Space

    def trials(self) -> tuple[Trial, ...]:
        """Those that it proposed, in this session or an earlier one, by number."""
        ...

    def propose(self, at: datetime) -> Proposed:
        """One more, which is the next of the study; it is taken for proposed from now on.

        Args:
            at: When, UTC.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Takes in how one of its trials ended."""
        ...


class Search:
    """Proposes what a sampler draws.

    Args:
        state: The study; its search is what `memory` was made of.
        memory: What the sampler learns from.
    """

    called = "trials"
    stops_early = True

    def __init__(self, state: StudyState, memory: SearchMemory) -> None:
        self.state = state
        self.memory = memory
        self.space = memory.space

    def trials(self) -> tuple[Trial, ...]:
        """See `Proposer`."""
        return self.state.search()

    def propose(self, at: datetime) -> Proposed:
        """See `Proposer`."""
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
        """See `Proposer`."""
        self.memory.tell(trial)
