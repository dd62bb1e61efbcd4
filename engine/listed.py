"""Configurations that are listed, by a grid or in a file, and not drawn."""

from dataclasses import asdict
from datetime import datetime

from engine.space import Space
from record.events import Proposed
from record.state import StudyState
from record.trial import Baseline, Searched, Trial
from record.values import plain


class Listed:
    """Proposes one listed configuration after the other.

    Args:
        state: The study.
        space: With a list of configurations.
    """

    called = "trials"
    stops_early = True

    def __init__(self, state: StudyState, space: Space) -> None:
        assert space.listed is not None
        self.state = state
        self.space = space
        self.configs = space.listed

    def trials(self) -> tuple[Trial, ...]:
        """See `engine.proposers.Proposer`."""
        return self.state.search()

    def propose(self, at: datetime) -> Proposed:
        """See `engine.proposers.Proposer`."""
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
        """Nothing: no other one depends on it."""
