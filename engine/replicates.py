"""The finals: the best configurations, and the default one, trained again with fresh seeds.

The best trial of a search is partly the luckiest one, so its score is biased upwards. Trainings
that had no part in choosing a configuration give an unbiased estimate of its score.
"""

from datetime import datetime

from engine.space import Space
from record.events import Proposed
from record.state import StudyState
from record.trial import Baseline, Replicate, Searched, Trial
from trainables.config import TrialConfig


def finalists(state: StudyState, space: Space, count: int) -> list[Trial]:
    """Returns the best finished trials with distinct configurations, best first, and the default.

    Args:
        state: State of the study.
        space: Its search space.
        count: Number of trials, not counting that of the default configuration of the first
            compared value.
    """
    finished = sorted(_finished(state), key=lambda trial: _better(state, trial))
    distinct = {_config(space, trial): trial for trial in finished}  # best trial of each config
    ascending = list(distinct.values())
    best = sorted(ascending, key=lambda trial: _better(state, trial), reverse=True)[:count]
    default = [trial for trial in finished if _index(trial) == space.defaults_at()[0]]
    return list({_config(space, trial): trial for trial in (*best, *default)}.values())


def _finished(state: StudyState) -> list[Trial]:
    return [trial for trial in state.search() if trial.status == "finished"]


def _better(state: StudyState, trial: Trial) -> float:
    """Returns the objective, with its sign chosen so that more is better."""
    return state.standing(trial)[0]


def _config(space: Space, trial: Trial) -> TrialConfig:
    return space.config(**trial.config)


def _index(trial: Trial) -> int | None:
    match trial.role:
        case Searched(index) | Baseline(index):
            return index
    return None


class Replicates:
    """A proposer of the finals: trials of the finalists' configurations with fresh seeds.

    Args:
        state: State of the study, whose search has ended.
        space: Its search space.
        count: Number of finalists, see `finalists`.
        seeds: Number of trainings of each finalist; their seeds follow the seed of its trial.
    """

    called = "finals"
    stops_early = False

    def __init__(self, state: StudyState, space: Space, count: int, seeds: int) -> None:
        self.state = state
        self.space = space
        self.finalists = finalists(state, space, count)
        # Ordered by seed, so that an interrupted session has trained all finalists equally often.
        self.wanted = [
            Replicate(trial.number, trial.config["seed"] + fresh)
            for fresh in range(1, seeds + 1)
            for trial in self.finalists
        ]

    @property
    def total(self) -> int:
        """Number of finals in all.

        If the search was continued after its finals, this includes finals that were begun for
        configurations that are no longer finalists.
        """
        return len({*self.wanted, *self._begun()})

    def text(self) -> str:
        """Returns a line for the user that announces the finals."""
        seeds = len(self.wanted) // max(1, len(self.finalists))
        numbers = ", ".join(str(trial.number) for trial in self.finalists)
        return (
            f"finals: the configurations of trials {numbers}, each trained again with {seeds} "
            "fresh seeds"
        )

    def best(self) -> Trial | None:
        """Returns the best finished final; None if none has finished."""
        finished = [trial for trial in self.trials() if trial.status == "finished"]
        return max(finished, key=self.state.standing, default=None)

    def trials(self) -> tuple[Trial, ...]:
        """Returns the finals proposed so far, by number."""
        return self.state.with_role(Replicate)

    def propose(self, at: datetime) -> Proposed:
        """Proposes the next final that was not begun before."""
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
        """Does nothing: which finals are trained does not depend on their results."""

    def _begun(self) -> set[Replicate]:
        return {trial.role for trial in self.trials() if isinstance(trial.role, Replicate)}
