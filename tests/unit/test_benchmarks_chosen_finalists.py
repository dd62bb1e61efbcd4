"""Which finals of a study become rows, and which studies are refused."""

from dataclasses import replace
from typing import Any

import pytest
from recorded_study import study_of, trial

from analysis import predictions
from benchmarks.chosen_finalists import best_of_each_group, champion, every_finalist, trainings
from benchmarks.gnn_results import TABLE
from datasets.errors import InputError
from record.names import DEFAULTS
from record.recorded_study import RecordedStudy
from record.trial import Baseline, Replicate, Trial
from trainables.models.gnn import GNNConfig

GIN, WIDE = GNNConfig(family="gin"), GNNConfig(family="gin", width=99)

SEARCH = (
    trial(0, GNNConfig(width=128), 0.5, role=Baseline(0)),  # a preset beside the defaults
    trial(1, GIN, 0.7, role=Baseline(1)),
    trial(2, GNNConfig(), 0.8),
    trial(3, WIDE, 0.95),
    trial(4, GNNConfig(family="gin", width=77), 0.99, "pruned"),
)
"""Two families; the trials 1 and 2 have their default configurations."""


def final(number: int, of: int, seed: int, value: float) -> Trial:
    config = GNNConfig(**{**SEARCH[of].config, "seed": seed})
    return trial(number, config, value, role=Replicate(of, seed))


def studied(*finals: Trial, **params: Any) -> RecordedStudy:
    return study_of(SEARCH, finals, tags={DEFAULTS: "2, 1"}, **params)


FINALS = (final(5, 0, 1, 0.5), final(6, 1, 1, 0.94), final(7, 2, 1, 0.8), final(8, 3, 1, 0.9))


def test_a_baseline_that_is_not_a_default_is_there_to_compare_with() -> None:
    assert every_finalist(studied(*FINALS)) == [1, 2, 3]


def test_the_best_of_each_family_is_the_search_s_and_was_not_stopped_early() -> None:
    assert best_of_each_group(studied(*FINALS)) == [2, 3]


def test_the_champion_is_the_one_that_fresh_seeds_chose() -> None:
    assert champion(studied(*FINALS)) == [1]
    assert champion(studied()) == []


def test_a_best_trial_without_finals_is_asked_for_by_number() -> None:
    with pytest.raises(InputError, match="trials 3 of s have no finals: repeat its command with"):
        TABLE.rows("best", studied(*FINALS[:3]))


def test_a_study_of_one_configuration_needs_no_finals() -> None:
    alone = study_of(SEARCH[2:3], tags={DEFAULTS: "2"})
    assert trainings(alone) == {2: (SEARCH[2],)}
    assert every_finalist(alone) == [2]


def test_a_trial_that_was_chosen_is_no_row() -> None:
    assert trainings(studied()) == {}
    assert trainings(studied(*FINALS[:1])) == {0: FINALS[:1]}


@pytest.mark.parametrize(
    ("study", "said"),
    [
        (
            studied(*FINALS, study="world-model"),
            "s is a study of world-model with seed 0: expecte",
        ),
        (studied(*FINALS, seed=3), "s is a study of gnn with seed 3: expected one of gnn with se"),
        (studied(), "s has no finals that finished"),
        (replace(studied(*FINALS), status="RUNNING"), "s has not ended"),
    ],
)
def test_a_study_that_has_no_such_rows_is_refused(study: RecordedStudy, said: str) -> None:
    with pytest.raises(InputError, match=said):
        TABLE.rows("ablations", study)


def test_a_final_that_was_not_scored_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "of_trial", lambda study, final: None)
    with pytest.raises(InputError, match="trial 6 of s was not scored on the test split"):
        TABLE.rows("ablations", studied(*FINALS))
