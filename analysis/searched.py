"""Reads from a study's trials what mattered of what was searched, and what lies at an edge.

The search space is in the study's log, and among the artifacts of its run in MLflow.
"""

import math
from collections.abc import Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from record.recorded_study import RecordedStudy
from record.trial import WITH_RESULT, Trial
from trainables.parameter import Parameter

TOP = 5
"""Least number of trials that count as the better ones, which Optuna's PED-ANOVA asks for."""

SHARE = 0.1
"""Share of the trials that counts as the better ones, where they are many."""

FEWEST = 2 * TOP
"""Trials below which no importance is told."""


def searched_of(study: RecordedStudy) -> tuple[Parameter, ...] | None:
    """Returns what a study searched; None if that was not recorded."""
    return None if study.space is None else tuple(map(Parameter.recorded, study.space))


def importances(study: RecordedStudy, searched: Sequence[Parameter]) -> dict[str, float]:
    """Tells how much each hyperparameter decided whether a trial was among the better ones, by
    PED-ANOVA (Watanabe et al. 2023, https://arxiv.org/abs/2304.10255).

    Only the `chosen` trials count.

    Args:
        study: The study.
        searched: What it searched; of this only what applies to every trial is compared.

    Returns:
        Key of a parameter -> its share; they add up to 1, the largest comes first. Empty where
        there are fewer than `FEWEST` trials.
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
    shares = get_param_importances(ranked, evaluator=evaluator)
    # Optuna's order of equal shares is that of a set.
    declared = {each.key: shares[each.key] for each in always}
    return dict(sorted(declared.items(), key=lambda item: item[1], reverse=True))


def chosen(study: RecordedStudy) -> list[Trial]:
    """Returns the trials that a sampler chose and that have a score, the worst first.

    A trial that was stopped early comes before those that went further, as the scheduler decided.
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


def at_the_edge(trial: Trial, searched: Sequence[Parameter]) -> list[str]:
    """Names the hyperparameters whose value in a trial is at an end of their range, and which."""
    return [
        f"{each.field}, {value:.4g}, is at the {edge} end of {each.ends}"
        for each in searched
        for value in [each.value(trial.config)]
        for edge in [each.edge(value)]
        if edge is not None
    ]
