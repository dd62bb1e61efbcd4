"""The finals: the best configurations, and the default, trained again on fresh seeds.

Whichever trial of a search is the best is partly the luckiest, and its score promises too much.
What a configuration is worth is told by trainings that had no part in choosing it.
"""

from datetime import datetime

from engine.space import Space
from record.events import Proposed
from record.state import StudyState
from record.trial import Baseline, Replicate, Searched, Trial
from trainables.config import TrialConfig


def finalists(state: StudyState, space: Space, count: int) -> list[Trial]:
    """The best finished trials with different configurations, the best first, and the default.

    Args:
        state: The study.
        space: What was searched.
        count: How many, besides the default configuration of the first value that is compared.
    """
    finished = sorted(_finished(state), key=lambda trial: _better(state, trial))
    distinct = {_config(space, trial): trial for trial in finished}  # of equal ones the best
    ascending = list(distinct.values())
    best = sorted(ascending, key=lambda trial: _better(state, trial), reverse=True)[:count]
    default = [trial for trial in finished if _index(trial) == space.defaults_at()[0]]
    return list({_config(space, trial): trial for trial in (*best, *default)}.values())


def _finished(state: StudyState) -> list[Trial]:
    return [trial for trial in state.search() if trial.status == "finished"]


def _better(state: StudyState, trial: Trial) -> float:
    """The objective, turned so that more is better."""
    return state.standing(trial)[0]


def _config(space: Space, trial: Trial) -> TrialConfig:
    return space.config(**trial.config)


def _index(trial: Trial) -> int | None:
    match trial.role:
        case Searched(index) | Baseline(index):
            return index
    return None


class Replicates:
    """Proposes trials of the finalists' configurations, each on a seed of its own.

    Args:
        state: The study, whose search has ended.
        space: What was searched.
        count: How many finalists, see `finalists`.
        seeds: How many trainings of each; with the seeds that follow the search's.
    """

    called = "finals"
    stops_early = False

    def __init__(self, state: StudyState, space: Space, count: int, seeds: int) -> None:
        self.state = state
        self.space = space
        self.finalists = finalists(state, space, count)
        # Seed by seed: a session that is cut short has trained all of them equally often.
        self.wanted = [
            Replicate(trial.number, trial.config["seed"] + fresh)
            for fresh in range(1, seeds + 1)
            for trial in self.finalists
        ]

    @property
    def total(self) -> int:
        """How many there will be. Where a search went on after its finals, some are of
        configurations that are finalists no more."""
        return len({*self.wanted, *self._begun()})

    def text(self) -> str:
        """What is about to be done."""
        seeds = len(self.wanted) // max(1, len(self.finalists))
        numbers = ", ".join(str(trial.number) for trial in self.finalists)
        return (
            f"finals: the configurations of trials {numbers}, each trained again with {seeds} "
            "fresh seeds"
        )

    def best(self) -> Trial | None:
        """The best one that has finished; None while none has."""
        finished = [trial for trial in self.trials() if trial.status == "finished"]
        return max(finished, key=self.state.standing, default=None)

    def trials(self) -> tuple[Trial, ...]:
        """See `engine.proposers.Proposer`."""
        return self.state.with_role(Replicate)

    def propose(self, at: datetime) -> Proposed:
        """See `engine.proposers.Proposer`."""
        begun = self._begun()
        role = next(each for each in self.wanted if each not in begun)
        of = self.state.trial(role.of)
        return Proposed(
            number=self.state.next_number,
            config={**of.config, "seed": role.seed},
            drawn={},
            role=role,
            at=at,
            title=f"{of.title} seed {role.seed}",
        )

    def tell(self, trial: Trial) -> None:
        """Nothing: no other one depends on it."""

    def _begun(self) -> set[Replicate]:
        return {trial.role for trial in self.trials() if isinstance(trial.role, Replicate)}
