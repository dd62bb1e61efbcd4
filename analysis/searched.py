"""What a study searched, and what its trials say about that: importances, values at an edge.

The search space is an artifact of the study's run (`FILE`), written when the study begins.
"""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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

from analysis.runs import StudyRuns, TrackingStore, TrialRun

FILE = "space.json"

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

    def value(self, params: Mapping[str, str]) -> Any:
        """What a trial had; None where it does not apply or lies outside, as a preset's may."""
        if self.when is not None and params.get(self.when[0]) not in self.when[1]:
            return None
        text = params.get(self.field)
        match self.distribution:
            case CategoricalDistribution(choices=choices):
                return next((choice for choice in choices if str(choice) == text), None)
            case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
                value = math.nan if text is None else float(text)
                whole = isinstance(self.distribution, IntDistribution)
                return (int(value) if whole else value) if low <= value <= high else None
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


def written(space: Sequence[Mapping[str, Any]]) -> str:
    """The artifact's text; see `read`."""
    return json.dumps(list(space), indent=1)


def read(store: TrackingStore, runs: StudyRuns) -> tuple[Searched, ...] | None:
    """The search space of a study; None if it was not recorded."""
    with tempfile.TemporaryDirectory() as scratch:
        file = store.fetch(runs.run_id, FILE, Path(scratch))
        if file is None:
            return None
        found = json.loads(file.read_text(encoding="utf-8"))
    return tuple(
        Searched(
            key=each["key"],
            field=each["field"],
            distribution=json_to_distribution(json.dumps(each["distribution"])),
            when=(each["when"]["field"], tuple(each["when"]["values"])) if each["when"] else None,
        )
        for each in found
    )


def importances(runs: StudyRuns, searched: Sequence[Searched]) -> dict[str, float]:
    """How much each hyperparameter decided whether a trial was among the better ones, by
    PED-ANOVA (Watanabe et al. 2023, https://arxiv.org/abs/2304.10255): shares that add up to 1,
    the largest first.

    Of hyperparameters that apply to every trial, and of the `chosen` trials. Empty where these are
    too few.
    """
    always = [each for each in searched if each.when is None]
    trials = [
        (trial, values)
        for trial in chosen(runs)
        for values in [{each.key: each.value(trial.params) for each in always}]
        if None not in values.values()
    ]
    if not always or len(trials) < FEWEST:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for place, (_, values) in enumerate(trials):
        frozen = optuna.trial.create_trial(
            params=values,
            distributions={each.key: each.distribution for each in always},
            value=float(place),
        )
        study.add_trial(frozen)
    top = max(TOP, math.ceil(SHARE * len(trials)))
    # Less half a trial: Optuna rounds the number up.
    evaluator = PedAnovaImportanceEvaluator(target_quantile=(top - 0.5) / len(trials))
    return get_param_importances(study, evaluator=evaluator)


def chosen(runs: StudyRuns) -> list[TrialRun]:
    """The trials that a sampler chose and that have a score, the worst first.

    One that was stopped early comes before those that went further, as the scheduler decided.
    Defaults and baselines are left out: no sampler chose them and nothing stops them, so that what
    they have in common would seem to matter.
    """
    spared = runs.defaults | {trial.number for trial in runs.trials if trial.baseline}

    def standing(trial: TrialRun) -> tuple[bool, float, float]:
        epoch = trial.metrics.get("epoch", 0.0)
        return trial.state == "finished", epoch, trial.metrics[runs.objective]

    scored = (
        trial
        for trial in runs.trials
        if trial.state in ("finished", "pruned")
        and runs.objective in trial.metrics
        and trial.number not in spared
    )
    return sorted(scored, key=standing)


def at_the_edge(trial: TrialRun, searched: Sequence[Searched]) -> list[str]:
    """The hyperparameters whose value in a trial is at an end of their range, and which."""
    return [
        f"{each.field}, {value:.4g}, is at the {edge} end of {each.ends}"
        for each in searched
        for value in [each.value(trial.params)]
        for edge in [each.edge(value)]
        if edge is not None
    ]
