"""An in-memory Optuna study that proposes configurations, rebuilt from the study's trials.

Each status has its own state in Optuna: finished is COMPLETE with its value; pruned is PRUNED with
the value at its last epoch, so that no sampler takes it for the result of a whole training; failed
is FAIL; infeasible is PRUNED with a violated constraint, which samplers avoid. All others are
RUNNING. Nothing is persisted: the same trials, added one by one or all at once, give the same
proposals.
"""

import heapq
import json
import warnings
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from operator import attrgetter
from statistics import median
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from engine.space import Space, contains
from record.events import Direction
from record.trial import WITH_RESULT, Baseline, Searched, Trial
from trainables.config import TrialConfig

SamplerName = Literal["tpe", "random", "gp"]

STARTUP = 8
"""Number of trials before TPE starts to model: the baselines and defaults, then random ones."""

LEARNT = 500
"""Number of newest trials that a sampler learns from, besides the `BEST` of the older ones.

The limit bounds the cost of a proposal in long studies.
"""

BEST = 25
"""Number of best older trials that a sampler learns from.

It is the maximum number of trials that TPE counts as good (Optuna's ``default_gamma``).
"""

MEMORY = "memory"
"""Name of the Optuna constraint that an infeasible trial violates."""

DRAWN_TOGETHER = "tpe:relative_params:"
"""Prefix of the attributes in which TPE stores its joint draw, as JSON split into pieces.

While a trial is running TPE uses these values, including those of parameters that do not apply.
"""


@dataclass(frozen=True)
class Draw:
    """A configuration proposed by the search.

    Attributes:
        config: Configuration to train.
        role: Its index in the search, and whether it is a baseline.
        drawn: Parameter -> value, for the parameters that apply to the configuration.
        inactive: Parameter -> value, for parameters of the joint draw that do not apply to it.
    """

    config: TrialConfig
    role: Searched | Baseline
    drawn: Mapping[str, Any]
    inactive: Mapping[str, Any]


class SearchMemory:
    """A sampler together with the trials that it learns from.

    Args:
        space: The search space.
        sampler: Name of the sampler.
        seed: Seed of the sampler.
        objective: Name of the metric to optimise.
        direction: ``maximize`` or ``minimize``.
        trials: Trials proposed so far, in the order of their proposal; trials outside of the
            search are ignored.
        prior: Ended trials of each earlier study, from which the sampler learns as well.
    """

    def __init__(
        self,
        space: Space,
        sampler: SamplerName,
        seed: int,
        objective: str,
        direction: Direction = "maximize",
        trials: Iterable[Trial] = (),
        prior: Iterable[Sequence[Trial]] = (),
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space = space
        self.sampler: SamplerName = sampler
        self.seed = seed
        self.objective = objective
        self.study = optuna.create_study(direction=direction)
        self.first = dict(zip(space.opening, space.first(), strict=True))
        self.distributions = {each.key: each.distribution for each in space.parameters}
        self.earlier: list[range] = []
        self.offset = 0
        for trials_of_a_study in prior:
            self._learn_from(trials_of_a_study)
        self.begun = 0
        for trial in trials:
            if isinstance(trial.role, Searched | Baseline):
                self._add(trial)

    def ask(self) -> Draw:
        """Proposes a new configuration; what `Space.opening` has comes first."""
        index = self.begun
        # Each trial has its own sampler, so that a proposal depends on the seed and on the known
        # trials, not on how often the study was stopped and continued.
        seed = (self.seed + 7919 * index) % 2**32
        self.study.sampler = _Sampler(self.sampler, seed, self._shifts())
        if index in self.first:
            self.study.enqueue_trial(self.first[index])
        config = self.space.suggest(self.study.ask(), index)
        self.begun += 1
        known = self._known(index)
        role = Baseline(index) if self.space.is_baseline(index) else Searched(index)
        return Draw(config, role, dict(known.params), _inactive(known))

    def tell(self, trial: Trial) -> None:
        """Reports the result of an ended trial to the sampler.

        Open trials, trials outside of the search and trials reported before are ignored.
        """
        if trial.is_open or not isinstance(trial.role, Searched | Baseline):
            return
        known = self._known(trial.role.index)
        if known.state.is_finished():
            return
        state, value = _state(trial), trial.value(self.objective)
        told = optuna.trial.Trial(self.study, known.number)
        if trial.status == "pruned" and value is not None:
            told.report(value, trial.epoch)
        if trial.status == "infeasible":
            told.set_constraint(MEMORY, 1.0)
        self.study.tell(known.number, value if state is TrialState.COMPLETE else None, state)

    def _known(self, index: int) -> optuna.trial.FrozenTrial:
        """Returns a trial in Optuna, by its index in the search."""
        return self.study.get_trials(deepcopy=False)[self.offset + index]

    def _learn_from(self, trials: Sequence[Trial]) -> None:
        """Adds the trials of an earlier study; none of this one may have been added before."""
        self.earlier.append(range(self.offset, self.offset + len(trials)))
        self.offset += len(trials)
        for trial in trials:
            self.study.add_trial(self._frozen(trial))

    def _shifts(self) -> dict[int, float]:
        """Returns what to add to the value of each trial of earlier studies, by Optuna's number.

        Other molecules or episodes to validate on make all values higher or lower, and an earlier
        study whose values are higher would outweigh whatever this one finds. The values of a study
        are therefore shifted by the median difference of the configurations that finished in both,
        such as the defaults; by nothing as long as there is none.
        """
        trials = self.study.get_trials(deepcopy=False) if self.earlier else []
        here = _finished(trials[self.offset :])
        shifts: dict[int, float] = {}
        for numbers in self.earlier:
            there = _finished(trials[numbers.start : numbers.stop])
            differences = [here[key] - there[key] for key in here.keys() & there.keys()]
            shifts |= dict.fromkeys(numbers, median(differences) if differences else 0.0)
        return shifts

    def _add(self, trial: Trial) -> None:
        """Adds a trial that was proposed earlier."""
        self.study.add_trial(self._frozen(trial))
        self.begun += 1

    def _frozen(self, trial: Trial) -> optuna.trial.FrozenTrial:
        if not self.space.includes(trial.config):  # nothing is learned from it
            return optuna.trial.create_trial(state=TrialState.FAIL)
        params = self.space.drawn_of(trial.config)
        state, value = _state(trial), trial.value(self.objective)
        return optuna.trial.create_trial(
            state=state,
            value=value if trial.status in WITH_RESULT else None,
            params=params,
            distributions={key: self.distributions[key] for key in params},
            intermediate_values=_intermediate(trial, value),
            constraints={MEMORY: 1.0} if trial.status == "infeasible" else None,
            system_attrs=self._drawn_together(trial),
        )

    def _drawn_together(self, trial: Trial) -> dict[str, Any]:
        """Returns the attribute with the inactive parameters of a trial's joint draw, for TPE."""
        inactive = {
            key: value
            for key, value in trial.inactive.items()
            if key in self.distributions and contains(self.distributions[key], value)
        }
        return {f"{DRAWN_TOGETHER}0": json.dumps(inactive)} if inactive else {}


def _finished(trials: Iterable[optuna.trial.FrozenTrial]) -> dict[str, float]:
    """Returns parameters, as JSON -> value, of the trials that finished."""
    return {
        json.dumps(trial.params, sort_keys=True): trial.values[0]
        for trial in trials
        if trial.state is TrialState.COMPLETE
    }


def _inactive(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Returns the parameters of TPE's joint draw that do not apply to the trial, with values."""
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
    """Returns the value of a pruned trial by its last epoch; empty for any other trial."""
    return {trial.epoch: value} if trial.status == "pruned" and value is not None else {}


class _Sampler(optuna.samplers.BaseSampler):
    """The sampler of one trial, with a separate random stream for each independent parameter.

    The value drawn for one parameter does not depend on which others are drawn.

    Args:
        name: Name of the underlying sampler.
        seed: Seed of the trial's sampler.
        shifts: Number of a trial of an earlier study -> what to add to its value.
    """

    def __init__(self, name: SamplerName, seed: int, shifts: Mapping[int, float]) -> None:
        self.name: SamplerName = name
        self.seed = seed
        self.shifts = shifts
        self.whole = _sampler(name, seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self.whole.infer_relative_search_space(_Learnt(study, self.shifts), trial)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        return self.whole.sample_relative(_Learnt(study, self.shifts), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        own = _sampler(self.name, zlib.crc32(f"{self.seed} {param_name}".encode()))
        return own.sample_independent(
            _Learnt(study, self.shifts), trial, param_name, param_distribution
        )


class _Learnt(optuna.Study):
    """View of an Optuna study that has only the newest trials and the best of the older ones.

    Optuna's samplers read all trials for each proposal. TPE gives old bad trials low weights (its
    ``default_weights``), so that leaving them out changes its proposals little.

    Args:
        study: The study, whose trials stay as they are.
        shifts: Number of a trial -> what to add to its value.
    """

    shifts: Mapping[int, float]

    def __init__(self, study: optuna.Study, shifts: Mapping[int, float]) -> None:
        self.__dict__ = {**study.__dict__, "shifts": shifts}

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[optuna.trial.FrozenTrial]:
        trials = super()._get_trials(deepcopy, states, use_cache)
        trials = [_shifted(trial, self.shifts.get(trial.number, 0.0)) for trial in trials]
        older = [t for t in trials[:-LEARNT] if t.state is TrialState.COMPLETE]
        is_maximized = self.direction is StudyDirection.MAXIMIZE
        select = heapq.nlargest if is_maximized else heapq.nsmallest
        best = select(BEST, older, key=attrgetter("value"))
        return sorted(best, key=attrgetter("number")) + trials[-LEARNT:]


def _shifted(trial: optuna.trial.FrozenTrial, shift: float) -> optuna.trial.FrozenTrial:
    """Returns a trial whose value, if it finished, is shifted; the trial itself stays as it is."""
    if not shift or trial.state is not TrialState.COMPLETE:
        return trial
    shifted = copy(trial)
    shifted.values = [trial.values[0] + shift]
    return shifted


def _sampler(name: SamplerName, seed: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Without `group`, parameters that only some trials have would be drawn independently.
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=STARTUP,
            multivariate=True,
            group=True,
            constant_liar=True,
        )
