"""The finals: the best configurations, and the default one, trained again with fresh seeds.

The best trial of a search is partly the luckiest one, so its score is biased upwards. Trainings
that had no part in choosing a configuration give an unbiased estimate of its score. Finalists that
can no longer become the champion are dropped on the way, see engine/race.py.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

from analysis.comparison import LEVEL
from engine.race import FIRST, Loss, Results, losses
from engine.space import Space
from record.events import Dropped, Proposed
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
        race: Whether finalists that are clearly behind are dropped; if not, those that were
            dropped before are trained with all seeds too, though none becomes the champion.
    """

    called = "finals"
    stops_early = False

    def __init__(
        self, state: StudyState, space: Space, count: int, seeds: int, race: bool = True
    ) -> None:
        self.state = state
        self.space = space
        self.race = race
        self.seeds = seeds
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
        configurations that are no longer finalists. Finals that a drop spares do not count.
        """
        return len(self._begun()) + len(self._left())

    def text(self) -> str:
        """Returns a line for the user that announces the finals."""
        numbers = ", ".join(str(trial.number) for trial in self.finalists)
        most = "up to " if self.race and self.seeds > FIRST else ""
        return (
            f"finals: the configurations of trials {numbers}, each trained again with {most}"
            f"{self.seeds} fresh seeds"
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
        role = self._left()[0]
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
        """Does nothing: results are read from the state."""

    def due(self, at: datetime) -> Iterator[Dropped]:
        """Yields the drops of the finalists that can no longer win and would be trained again."""
        if self.race:
            droppable = {role.of for role in self._left()}
            found = losses(self._results(), droppable, self._dropped())
            for number, loss in found.items():
                yield Dropped(number, self._reason(loss), at)

    def _left(self) -> list[Replicate]:
        """Returns the finals that are still to be proposed, in order."""
        out, begun = self._dropped() if self.race else (), self._begun()
        return [role for role in self.wanted if role not in begun and role.of not in out]

    def _dropped(self) -> set[int]:
        numbers = [trial.number for trial in self.finalists]
        return {number for number in numbers if self.state.trial(number).dropped}

    def _begun(self) -> dict[Replicate, Trial]:
        return {trial.role: trial for trial in self.trials() if isinstance(trial.role, Replicate)}

    def _results(self) -> Mapping[int, Results]:
        """Returns number of a finalist -> its results, by seed, up to the first open final."""
        begun = self._begun()
        found: dict[int, list[float | None]] = {trial.number: [] for trial in self.finalists}
        waits: set[int] = set()
        for role in self.wanted:
            final = begun.get(role)
            if final is None or final.is_open or role.of in waits:
                waits.add(role.of)
            else:
                found[role.of].append(self._result(final, role.of))
        return found

    def _result(self, final: Trial, of: int) -> float | None:
        """Returns the objective, so that more is better; None if the final failed, or if the user
        deleted it or its finalist, which is then no champion."""
        if final.status != "finished" or {final.number, of} & self.state.discarded:
            return None
        return _better(self.state, final)

    def _reason(self, loss: Loss) -> str:
        """Says for the user why a finalist was dropped."""
        sign = 1 if self.state.session.direction == "maximize" else -1
        return (
            f"after {loss.seeds} seeds its mean {self.state.session.objective} is "
            f"{sign * loss.mean:.4f}, that of trial {loss.leader} is {sign * loss.best:.4f}: "
            f"worse with p = {loss.p:.2g}, below {loss.level:.3g}, this round's share of "
            f"{LEVEL:.0%}"
        )
