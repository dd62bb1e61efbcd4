"""The finals: the best configurations of a search, and its default, trained again on fresh seeds.

Whichever trial of a search is the best is partly the luckiest, and its score promises too much.
What a configuration is worth is told by trainings that had no part in choosing it. They are trials
like those of the search, run, recorded and resumed as these are, but that each is one `of` them,
and that no sampler learns from it.
"""

from collections.abc import Iterator
from dataclasses import replace

from optuna.trial import FrozenTrial, TrialState

from studies.search import OF, FinishedTrial, Proposal, Search, Told, in_order
from studies.space import Space

SEED = "seed"
"""What Optuna knows of a final, beside the trial that it is one of."""


def finalists(search: Search, count: int) -> list[FinishedTrial]:
    """The best finished trials with different configurations, the best first, and the default.

    Args:
        search: The search.
        count: How many, besides the default configuration of the first value that is compared.
    """
    finished = search.finished_trials()
    distinct = {trial.config: trial for trial in finished}  # of equal ones the best
    best = sorted(distinct.values(), key=lambda trial: trial.value, reverse=True)[:count]
    default = [trial for trial in finished if trial.number == search.space.defaults_at()[0]]
    return list({trial.config: trial for trial in (*best, *default)}.values())


class Finals:
    """The finals of a search that has ended.

    Args:
        search: The search.
        count: How many finalists, see `finalists`.
        seeds: How many trainings of each; with the seeds that follow the search's.
    """

    def __init__(self, search: Search, count: int, seeds: int) -> None:
        self.search = search
        self.tell = search.tell
        self.searched = {trial.number: trial for trial in search.finished_trials()}
        self.finalists = finalists(search, count)
        # Seed by seed: a session that is cut short has trained all of them equally often.
        self.wanted = [
            (trial.number, trial.config.seed + fresh)
            for fresh in range(1, seeds + 1)
            for trial in self.finalists
        ]

    called = "finals"
    stops_early = False

    def text(self) -> str:
        """What is about to be done."""
        seeds = len(self.wanted) // max(1, len(self.finalists))
        numbers = ", ".join(str(trial.number) for trial in self.finalists)
        return (
            f"finals: the configurations of trials {numbers}, each trained again with {seeds} "
            "fresh seeds"
        )

    def best(self) -> FinishedTrial | None:
        """The best final."""
        return next(reversed(self.finished_trials()), None)

    @property
    def key(self) -> str:
        """The search's."""
        return self.search.key

    @property
    def space(self) -> Space:
        """The search's."""
        return self.search.space

    def endings(self) -> list[Told]:
        """What Optuna was told of the finals that ended, in that order."""
        return in_order(told for told in self.search.told().values() if told.is_final)

    @property
    def total(self) -> int:
        """How many there will be. Where a search went on after its finals, some are of
        configurations that are finalists no more."""
        return len({*self.wanted, *map(_pair, self._begun())})

    @property
    def asked(self) -> int:
        """How many were begun."""
        return len(self._begun())

    @property
    def ended(self) -> int:
        """How many have ended, whatever came of them."""
        return sum(trial.state.is_finished() for trial in self._begun())

    def ask(self) -> Proposal:
        """The next one to train."""
        begun = {_pair(trial) for trial in self._begun()}
        of, seed = next(pair for pair in self.wanted if pair not in begun)
        return self._proposal(self.search.add_final({OF: of, SEED: seed}))

    def unfinished(self) -> Iterator[Proposal]:
        """Those that an earlier session began and did not end."""
        for trial in self._begun():
            if trial.state is TrialState.RUNNING:
                yield self._proposal(trial)

    def finished_trials(self) -> list[FinishedTrial]:
        """Those that used their whole budget, the best last."""
        finished = [
            FinishedTrial(p.number, p.config, p.baseline, trial.value, of=p.of)
            for trial in self._begun()
            if trial.value is not None
            for p in [self._proposal(trial)]
        ]
        return sorted(finished, key=lambda trial: trial.value)

    def _begun(self) -> list[FrozenTrial]:
        return self.search.finals()

    def _proposal(self, trial: FrozenTrial) -> Proposal:
        of, seed = _pair(trial)
        known = self.searched[of]
        return Proposal(trial.number, replace(known.config, seed=seed), known.baseline, of=of)


def _pair(trial: FrozenTrial) -> tuple[int, int]:
    return trial.user_attrs[OF], trial.user_attrs[SEED]
