"""Proposes configurations from a list, from a grid or a file, instead of sampling them."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

from engine.space import Space
from record.events import Event, Proposed
from record.state import StudyState
from record.trial import Baseline, Searched, Trial
from record.values import plain


class Listed:
    """A proposer that goes through a list of configurations in order.

    Args:
        state: State of the study.
        space: Search space with a list of configurations.
    """

    called = "trials"
    stops_early = True

    def __init__(self, state: StudyState, space: Space) -> None:
        assert space.listed is not None
        self.state = state
        self.space = space
        self.configs = space.listed
        self.total = len(self.configs)

    def trials(self) -> tuple[Trial, ...]:
        """Returns the trials of the search so far, by number."""
        return self.state.search()

    def propose(self, at: datetime) -> Proposed:
        """Proposes the next configuration of the list."""
        index = self.state.next_index
        config = self.configs[index]
        return Proposed(
            number=self.state.next_number,
            config=plain(asdict(config)),
            drawn=plain(self.space.drawn(config)),
            role=Baseline(index) if self.space.is_baseline(index) else Searched(index),
            at=at,
            title=config.title,
        )

    def tell(self, trial: Trial) -> None:
        """Does nothing: the list does not depend on results."""

    def due(self, at: datetime) -> Iterable[Event]:
        """Returns nothing: the list does not depend on results."""
        del at
        return ()
