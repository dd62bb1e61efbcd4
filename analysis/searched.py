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

FEWEST = 4
"""Finished trials below which no importance is told."""


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

    def edge(self, value: Any) -> str | None:
        """Which end of its range a value is at: ``lowest``, ``highest`` or neither."""
        if isinstance(self.distribution, CategoricalDistribution) or value is None:
            return None
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        low, high = self.distribution.low, self.distribution.high
        scale = math.log if self.distribution.log else float
        place = (scale(value) - scale(low)) / (scale(high) - scale(low)) if high > low else 0.5
        if isinstance(self.distribution, IntDistribution):
            return "lowest" if value == low < high else "highest" if value == high > low else None
        return "lowest" if place < EDGE else "highest" if place > 1 - EDGE else None


def written(space: Sequence[Mapping[str, Any]]) -> str:
    """The artifact's text; see `read`."""
    return json.dumps(list(space), indent=1)


def read(store: TrackingStore, runs: StudyRuns) -> tuple[Searched, ...]:
    """The search space of a study; empty if it recorded none."""
    with tempfile.TemporaryDirectory() as scratch:
        file = store.fetch(runs.run_id, FILE, Path(scratch))
        found = json.loads(file.read_text()) if file else []
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
    the largest first. Of finished trials only; empty where these are too few."""
    finished = [trial for trial in runs.trials if trial.state == "finished"]
    if len(finished) < FEWEST or not searched:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for trial in finished:
        study.add_trial(_as_optuna(trial, searched, trial.metrics[runs.objective]))
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def _as_optuna(
    trial: TrialRun, searched: Sequence[Searched], value: float
) -> optuna.trial.FrozenTrial:
    values = {each.key: (each, each.value(trial.params)) for each in searched}
    known = {key: (each, had) for key, (each, had) in values.items() if had is not None}
    return optuna.trial.create_trial(
        params={key: had for key, (_, had) in known.items()},
        distributions={key: each.distribution for key, (each, _) in known.items()},
        value=value,
    )


def at_the_edge(trial: TrialRun, searched: Sequence[Searched]) -> dict[str, str]:
    """Hyperparameter -> the end of its range that a trial's value is at: a better one may lie
    beyond."""
    found = {each.field: each.edge(each.value(trial.params)) for each in searched}
    return {field: edge for field, edge in found.items() if edge is not None}
