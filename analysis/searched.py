"""What a study searched, and what its trials say about that: importances, values at an edge.

The search space is in the study's log, and among the artifacts of its run in MLflow.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from record.recorded_study import RecordedStudy
from record.trial import WITH_RESULT, Trial

EDGE = 0.02
"""Share of a range, in logarithms where it is searched in these, that counts as its edge."""

TOP = 5
"""Trials, at least, that count as the better ones; as Optuna's PED-ANOVA asks for."""

SHARE = 0.1
"""Of the trials that count as the better ones, where they are many."""

FEWEST = 2 * TOP
"""Trials below which no importance is told."""


@dataclass(frozen=True)
class Searched:
    """One searched hyperparameter.

    Attributes:
        key: Its name; a field that has another range under a condition has two.
        field: Of the configuration, and name of the MLflow param.
        distribution: Where it was searched.
        when: The field that decides whether it applies, and for which of its values; None: it
            always does.
    """

    key: str
    field: str
    distribution: BaseDistribution
    when: tuple[str, tuple[str, ...]] | None

    def value(self, config: Mapping[str, Any]) -> Any:
        """What a trial had; None where it does not apply or lies outside, as a preset's may."""
        if self.when is not None and config.get(self.when[0]) not in self.when[1]:
            return None
        value = config.get(self.field)
        match self.distribution:
            case CategoricalDistribution(choices=choices):
                return value if value in choices else None
            case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
                return value if value is not None and low <= value <= high else None
        raise TypeError(f"{self.key}: {self.distribution} is no range of this project")

    @property
    def ends(self) -> str:
        """The range, of numbers."""
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        return f"{self.distribution.low:g} to {self.distribution.high:g}"

    def edge(self, value: Any) -> str | None:
        """Which end of its range a value is at: ``lowest``, ``highest`` or neither. Beyond the
        lowest there is nothing where a count is 1, or a quantity that cannot be negative is 0."""
        if isinstance(self.distribution, CategoricalDistribution) or value is None:
            return None
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        low, high = self.distribution.low, self.distribution.high
        scale = math.log if self.distribution.log else float
        place = (scale(value) - scale(low)) / (scale(high) - scale(low)) if high > low else 0.5
        whole = isinstance(self.distribution, IntDistribution)
        margin = 0.0 if whole else EDGE
        if place <= margin:
            return "lowest" if low > (1 if whole else 0) else None
        return "highest" if place >= 1 - margin else None


def searched_of(study: RecordedStudy) -> tuple[Searched, ...] | None:
    """What a study searched; None if that was not recorded."""
    if study.space is None:
        return None
    return tuple(
        Searched(
            key=each["key"],
            field=each["field"],
            distribution=json_to_distribution(json.dumps(each["distribution"])),
            when=(each["when"]["field"], tuple(each["when"]["values"])) if each["when"] else None,
        )
        for each in study.space
    )


def importances(study: RecordedStudy, searched: Sequence[Searched]) -> dict[str, float]:
    """How much each hyperparameter decided whether a trial was among the better ones, by
    PED-ANOVA (Watanabe et al. 2023, https://arxiv.org/abs/2304.10255): shares that add up to 1,
    the largest first.

    Of hyperparameters that apply to every trial, and of the `chosen` trials. Empty where these are
    too few.
    """
    always = [each for each in searched if each.when is None]
    trials = [
        (trial, values)
        for trial in chosen(study)
        for values in [{each.key: each.value(trial.config) for each in always}]
        if None not in values.values()
    ]
    if not always or len(trials) < FEWEST:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ranked = optuna.create_study(direction="maximize")
    for place, (_, values) in enumerate(trials):
        frozen = optuna.trial.create_trial(
            params=values,
            distributions={each.key: each.distribution for each in always},
            value=float(place),
        )
        ranked.add_trial(frozen)
    top = max(TOP, math.ceil(SHARE * len(trials)))
    # Less half a trial: Optuna rounds the number up.
    evaluator = PedAnovaImportanceEvaluator(target_quantile=(top - 0.5) / len(trials))
    return get_param_importances(ranked, evaluator=evaluator)


def chosen(study: RecordedStudy) -> list[Trial]:
    """The trials that a sampler chose and that have a score, the worst first.

    One that was stopped early comes before those that went further, as the scheduler decided.
    Defaults and baselines are left out: no sampler chose them and nothing stops them, so that what
    they have in common would seem to matter.
    """
    spared = study.defaults | {trial.number for trial in study.trials if trial.is_baseline}

    def standing(trial: Trial) -> tuple[bool, int, float]:
        return trial.status == "finished", trial.epoch, study.value(trial)

    scored = (
        trial
        for trial in study.trials
        if trial.status in WITH_RESULT and trial.number not in spared
    )
    return sorted(scored, key=standing)


def at_the_edge(trial: Trial, searched: Sequence[Searched]) -> list[str]:
    """The hyperparameters whose value in a trial is at an end of their range, and which."""
    return [
        f"{each.field}, {value:.4g}, is at the {edge} end of {each.ends}"
        for each in searched
        for value in [each.value(trial.config)]
        for edge in [each.edge(value)]
        if edge is not None
    ]
