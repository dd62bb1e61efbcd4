"""Optuna's side: what is asked, what is told."""

from pathlib import Path

import optuna
import pytest
import studies.search
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState
from studies.search import SamplerName, Search

from datasets.errors import InputError
from engine.space import Space
from trainables.models.gnn import FAMILIES, GNNConfig


def search_in(
    folder: Path,
    sampler: SamplerName = "tpe",
    seed: int = 0,
    spec: dict[str, object] | None = None,
) -> Search:
    space = Space.of(GNNConfig, "family", {})
    return Search(folder / "optuna.log", "s", space, sampler, seed, spec or {"question": 1})


def score(config: object) -> float:
    assert isinstance(config, GNNConfig)
    return config.width / 100 + (config.head == "dipole") - config.dropout


def test_the_first_trials_are_the_default_of_each_family(tmp_path: Path) -> None:
    search = search_in(tmp_path)
    first = [search.ask() for _ in range(6)]
    assert [p.config for p in first[:5]] == [GNNConfig(family=family) for family in FAMILIES]
    assert [p.baseline for p in first] == [True] * 5 + [False]
    assert [p.number for p in first] == list(range(6))


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_equal_seeds_and_endings_give_equal_proposals(
    tmp_path: Path, sampler: SamplerName
) -> None:
    def proposals(folder: Path, seed: int) -> list[object]:
        folder.mkdir()
        search = search_in(folder, sampler, seed)
        asked = []
        for _ in range(14):
            proposal = search.ask()
            search.finished(proposal.number, score(proposal.config))
            asked.append(proposal.config)
        return asked

    once = proposals(tmp_path / "once", 0)
    assert proposals(tmp_path / "again", 0) == once
    assert proposals(tmp_path / "other", 1)[5:] != once[5:]


def test_tpe_finds_better_configurations_than_chance(tmp_path: Path) -> None:
    """Mean score of trials 30 to 59; at random it is 0.64 + 0.5 - 0.15 = 0.99, +- 0.1."""
    search = search_in(tmp_path)
    scores = []
    for _ in range(60):
        proposal = search.ask()
        scores.append(score(proposal.config))
        search.finished(proposal.number, scores[-1])
    assert sum(scores[30:]) / 30 > 1.3


def test_a_sampler_learns_from_the_newest_trials_and_the_best_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TPE is shown; as much as there is while the trials are few."""
    seen: dict[int, list[int]] = {}

    class Watched(TPESampler):
        def infer_relative_search_space(
            self, study: Study, trial: FrozenTrial
        ) -> dict[str, BaseDistribution]:
            states = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
            known = study.get_trials(deepcopy=False, states=states)
            seen[trial.number] = [each.number for each in known]
            return super().infer_relative_search_space(study, trial)

    monkeypatch.setattr(optuna.samplers, "TPESampler", Watched)
    monkeypatch.setattr(studies.search, "LEARNT", 6)
    monkeypatch.setattr(studies.search, "BEST", 2)
    search = search_in(tmp_path)
    values = {0: 0.9, 1: 0.1, 2: 0.8, 3: 0.2, 5: 0.3, 6: 0.95}
    for _ in range(14):
        number = search.ask().number
        if number == 4:
            search.failed(number, "no value to learn from")
        else:
            search.finished(number, values.get(number, 0.0))
    assert seen[5] == [0, 1, 2, 3, 5]
    assert seen[10] == [0, 2, *range(5, 11)]
    assert seen[13] == [0, 6, *range(8, 14)]


def test_a_pruned_trial_has_its_value_at_its_budget_and_no_other(tmp_path: Path) -> None:
    search = search_in(tmp_path)
    number = search.ask().number
    search.pruned(number, 0.25, epoch=3)
    trial = search.study.trials[number]
    assert trial.state is TrialState.PRUNED
    assert trial.intermediate_values == {3: 0.25}
    assert search.best() is None, "a pruned trial is never the best"


def test_a_failed_trial_keeps_its_reason(tmp_path: Path) -> None:
    search = search_in(tmp_path)
    number = search.ask().number
    search.failed(number, "out of luck")
    trial = search.study.trials[number]
    assert (trial.state, trial.value) == (TrialState.FAIL, None)
    assert trial.user_attrs["reason"] == "out of luck"


def test_the_best_is_the_finished_trial_with_the_highest_value(tmp_path: Path) -> None:
    search = search_in(tmp_path)
    for value in (0.2, 0.9, 0.5):
        search.finished(search.ask().number, value)
    best = search.best()
    assert best is not None
    assert (best.number, best.value, best.config) == (1, 0.9, GNNConfig(family=FAMILIES[1]))


def test_trials_that_nothing_was_told_of_are_given_out_again(tmp_path: Path) -> None:
    search = search_in(tmp_path)
    asked = [search.ask() for _ in range(7)]
    search.finished(0, 1.0)
    search.failed(3, "gone")
    left = list(search_in(tmp_path).unfinished())
    assert left == [asked[n] for n in (1, 2, 4, 5, 6)]
    assert search_in(tmp_path).asked == 7
    assert search_in(tmp_path).ended == 2


def test_another_spec_is_refused_with_every_difference_named(tmp_path: Path) -> None:
    search_in(tmp_path, spec={"data": {"digest": "a", "old": 1}, "seed": 0})
    with pytest.raises(InputError) as refusal:
        search_in(tmp_path, spec={"data": {"digest": "b", "new": 2}, "seed": 0})
    said = str(refusal.value)
    assert "data.digest was a, now b" in said
    assert "data.new is new" in said
    assert "data.old is gone" in said
    assert "seed" not in said
