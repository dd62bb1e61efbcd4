"""Optuna's side of a study, in memory: made of the study's trials, and told of them as they end.

Each ending has its own state there: finished COMPLETE with its value; pruned PRUNED with the value
it had at its budget, so that no sampler takes it for a result of the whole budget; failed FAIL;
infeasible PRUNED and violating a constraint, which samplers keep away from. What goes on is
RUNNING. Nothing is kept: the same trials, told one by one or all at once, give the same proposals.
"""

import heapq
import json
import warnings
import zlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from engine.space import Space
from record.events import Direction
from record.trial import WITH_RESULT, Baseline, Searched, Trial
from record.values import plain
from trainables.config import TrialConfig

SamplerName = Literal["tpe", "random", "gp"]

STARTUP = 8
"""Trials before TPE begins to learn, after the baselines some at random."""

LEARNT = 500
"""Trials that a sampler learns from at most, the newest, besides the best of the older ones: what
a proposal costs then stops growing with the study."""

BEST = 25
"""Those best, as many as TPE takes for good ones at most (Optuna's ``default_gamma``)."""

MEMORY = "memory"
"""Name of the constraint that an infeasible trial violates."""

DRAWN_TOGETHER = "tpe:relative_params:"
"""Begins the attributes in which TPE notes what it drew in one go, as JSON in pieces: until a
trial ends it counts these values, also those of parameters that do not apply."""


@dataclass(frozen=True)
class Draw:
    """What the search proposes next.

    Attributes:
        config: What to fit.
        role: Its place in the search, and whether it is a baseline.
        drawn: Parameter -> value: of those that apply.
        inactive: Parameter -> value drawn in the same go, of those that do not apply.
    """

    config: TrialConfig
    role: Searched | Baseline
    drawn: Mapping[str, Any]
    inactive: Mapping[str, Any]


class SearchMemory:
    """What a sampler learns from, and what it proposes.

    Args:
        space: What is searched.
        sampler: Which sampler proposes.
        seed: Seeds the sampler.
        objective: The metric that is searched for.
        direction: Whether more of it is better, or less.
        trials: Those that are known, in the order of their proposal; those that are not of the
            search do not matter.
    """

    def __init__(
        self,
        space: Space,
        sampler: SamplerName,
        seed: int,
        objective: str,
        direction: Direction = "maximize",
        trials: Iterable[Trial] = (),
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space = space
        self.sampler: SamplerName = sampler
        self.seed = seed
        self.objective = objective
        self.study = optuna.create_study(direction=direction)
        self.first = _without_repetitions(space.first())
        self.distributions = {each.key: each.distribution for each in space.parameters}
        self.begun = 0
        for trial in trials:
            if isinstance(trial.role, Searched | Baseline):
                self._add(trial)

    def ask(self) -> Draw:
        """A new configuration; baselines and defaults come first."""
        index = self.begun
        # A sampler of its own for each trial: what it proposes depends on the seed and on what is
        # known, not on how often the study was stopped and continued.
        self.study.sampler = _Sampler(self.sampler, (self.seed + 7919 * index) % 2**32)
        if index < len(self.first):
            self.study.enqueue_trial(self.first[index])
        config = self.space.suggest(self.study.ask())
        self.begun += 1
        known = self.study.get_trials(deepcopy=False)[index]
        role = Baseline(index) if self.space.is_baseline(index) else Searched(index)
        return Draw(config, role, dict(known.params), _inactive(known))

    def tell(self, trial: Trial) -> None:
        """Takes in how a trial stands; one that goes on, is not of the search, or was told before
        does not matter."""
        if trial.is_open or not isinstance(trial.role, Searched | Baseline):
            return
        index = trial.role.index
        if self.study.get_trials(deepcopy=False)[index].state.is_finished():
            return
        state, value = _state(trial), trial.value(self.objective)
        told = optuna.trial.Trial(self.study, index)
        if trial.status == "pruned" and value is not None:
            told.report(value, trial.epoch)
        if trial.status == "infeasible":
            told.set_constraint(MEMORY, 1.0)
        self.study.tell(index, value if state is TrialState.COMPLETE else None, state)

    def _add(self, trial: Trial) -> None:
        """Takes in a trial that was proposed before."""
        self.study.add_trial(self._frozen(trial))
        self.begun += 1

    def _frozen(self, trial: Trial) -> optuna.trial.FrozenTrial:
        if not self._is_inside(trial):
            return optuna.trial.create_trial(state=TrialState.FAIL)
        state, value = _state(trial), trial.value(self.objective)
        params = {key: trial.drawn[key] for key in trial.drawn if key in self.distributions}
        return optuna.trial.create_trial(
            state=state,
            value=value if trial.status in WITH_RESULT else None,
            params=params,
            distributions={key: self.distributions[key] for key in params},
            intermediate_values=_intermediate(trial, value),
            constraints={MEMORY: 1.0} if trial.status == "infeasible" else None,
            system_attrs=self._drawn_together(trial),
        )

    def _is_inside(self, trial: Trial) -> bool:
        """Whether a trial lies in the space, which may have become narrower since: the sampler
        learns nothing from one that does not."""
        fixed = plain(dict(self.space.fixed))
        return all(trial.config.get(name) == value for name, value in fixed.items()) and all(
            contains(self.distributions[key], value)
            for key, value in trial.drawn.items()
            if key in self.distributions
        )

    def _drawn_together(self, trial: Trial) -> dict[str, Any]:
        """The attribute of a running trial whose inactive parameters TPE counts."""
        inactive = {
            key: value
            for key, value in trial.inactive.items()
            if key in self.distributions and contains(self.distributions[key], value)
        }
        return {f"{DRAWN_TOGETHER}0": json.dumps(inactive)} if inactive else {}


def _without_repetitions(first: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is tried first, each once: a baseline may differ from the default in fields alone that
    are not searched."""
    found: list[dict[str, Any]] = []
    for parameters in first:
        if parameters not in found:
            found.append(parameters)
    return found


def _inactive(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """What TPE drew together with the parameters of a trial and does not apply to it."""
    attributes = trial.system_attrs
    pieces = [attributes[name] for name in attributes if name.startswith(DRAWN_TOGETHER)]
    drawn = json.loads("".join(pieces)) if pieces else {}
    return {key: value for key, value in drawn.items() if key not in trial.params}


def _state(trial: Trial) -> TrialState:
    match trial.status:
        case "finished":
            return TrialState.COMPLETE
        case "pruned" | "infeasible":
            return TrialState.PRUNED
        case "failed":
            return TrialState.FAIL
    return TrialState.RUNNING


def _intermediate(trial: Trial, value: float | None) -> dict[int, float]:
    """The value of a pruned trial at its budget."""
    return {trial.epoch: value} if trial.status == "pruned" and value is not None else {}


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a value lies where a parameter is searched."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:
        return False


class _Sampler(optuna.samplers.BaseSampler):
    """The sampler of one trial, with random numbers of their own for each parameter that is drawn
    by itself: what is drawn for one does not depend on which others are.

    Args:
        name: Which sampler.
        seed: Of the trial.
    """

    def __init__(self, name: SamplerName, seed: int) -> None:
        self.name: SamplerName = name
        self.seed = seed
        self.whole = _sampler(name, seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self.whole.infer_relative_search_space(_Learnt(study), trial)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        return self.whole.sample_relative(_Learnt(study), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        own = _sampler(self.name, zlib.crc32(f"{self.seed} {param_name}".encode()))
        return own.sample_independent(_Learnt(study), trial, param_name, param_distribution)


class _Learnt(optuna.Study):
    """A study as its sampler sees it: of many trials the newest and the best.

    Optuna's samplers look at all trials for each proposal. TPE itself weighs old bad trials down
    (its ``default_weights``), so that these miss little in what it proposes.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.__dict__ = study.__dict__

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[optuna.trial.FrozenTrial]:
        trials = super()._get_trials(deepcopy, states, use_cache)
        older = [t for t in trials[:-LEARNT] if t.state is TrialState.COMPLETE]
        is_maximized = self.direction is StudyDirection.MAXIMIZE
        select = heapq.nlargest if is_maximized else heapq.nsmallest
        best = select(BEST, older, key=attrgetter("value"))
        return sorted(best, key=attrgetter("number")) + trials[-LEARNT:]


def _sampler(name: SamplerName, seed: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Without groups, parameters that only some trials have would be drawn independently.
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=STARTUP,
            multivariate=True,
            group=True,
            constant_liar=True,
        )
