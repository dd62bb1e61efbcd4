"""What follows from the trials of a study alone: who is best, who is champion, what counts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from recorded_study import study_of, trial

from datasets.errors import InputError
from record.recorded_study import RecordedStudy
from record.trial import Baseline, Replicate, Status, Trial
from studies import gnn_sweep, world_model_sweep
from trainables.models.gnn import GNNConfig

SEARCHED = (
    trial(0, GNNConfig(), 0.5, role=Baseline(0)),
    trial(1, GNNConfig(width=40), 0.9),
    trial(2, GNNConfig(family="gin"), 0.8),
)


def final(number: int, of: int, seed: int, value: float, status: Status = "finished") -> Trial:
    config = GNNConfig(seed=seed)
    return trial(number, config, value, status, role=Replicate(of, seed))


def studied(*finals: Trial, trials: Sequence[Trial] = SEARCHED) -> RecordedStudy:
    return study_of(trials, finals)


def numbers(study: RecordedStudy) -> dict[int, list[int]]:
    return {of: [final.number for final in finals] for of, finals in study.finalists.items()}


def test_the_champion_has_the_highest_mean_over_its_fresh_seeds() -> None:
    study = studied(
        final(3, 1, 1, 0.9), final(4, 1, 2, 0.3), final(5, 2, 1, 0.7), final(6, 2, 2, 0.7)
    )
    assert numbers(study) == {1: [3, 4], 2: [5, 6]}
    assert study.champion == SEARCHED[2]
    assert study.champion_final == study.finals[3], "of equal ones the latest"
    assert study.without_finals == ()
    best = study.best(study.trials)
    assert best is not None and best.number == 1


def test_without_finals_there_is_no_champion() -> None:
    study = studied()
    assert (study.champion, study.champion_final, study.finalists) == (None, None, {})


def test_only_seeds_that_all_have_had_count_whether_they_finished_or_failed() -> None:
    study = studied(
        final(3, 1, 1, 0.9),
        final(4, 1, 2, 0.9),
        final(5, 2, 1, 0.7),
        final(6, 2, 2, 0.7, "failed"),
        final(7, 1, 3, 0.9),
        final(8, 2, 3, 0.7, "paused"),
    )
    assert numbers(study) == {1: [3, 4], 2: [5]}
    assert (study.failed_finals(1), study.failed_finals(2)) == (0, 1)


def test_one_of_which_a_training_failed_wins_only_where_that_is_true_of_all() -> None:
    good, bad = [final(3, 1, 1, 0.9), final(4, 1, 2, 0.9)], [final(5, 2, 1, 0.5)]
    failed = final(6, 2, 2, 0.0, "infeasible")
    assert studied(*good, *bad, failed).champion == SEARCHED[1]
    failed_too = replace(good[1], status="failed")
    also = studied(good[0], failed_too, *bad, failed).champion
    assert also == SEARCHED[1]
    one_failed = studied(good[0], failed_too, *bad, replace(failed, status="finished"))
    assert one_failed.champion == SEARCHED[2]


def test_a_dropped_finalist_keeps_its_seeds_limits_nobody_and_is_no_champion() -> None:
    behind = replace(SEARCHED[2], dropped="it was far behind")
    finals = [
        *(final(3 + seed, 1, seed, value) for seed, value in ((1, 0.9), (2, 0.3), (3, 0.3))),
        *(final(7 + seed, 2, seed, 0.7) for seed in (1, 2)),
    ]
    study = studied(*finals, trials=(*SEARCHED[:2], behind))
    assert numbers(study) == {1: [4, 5, 6], 2: [8, 9]}
    assert study.champion == SEARCHED[1], "though the mean of the other is higher"
    assert studied(*finals).champion == SEARCHED[2]
    failed = studied(*finals, final(10, 1, 4, 0.1, "failed"), trials=(*SEARCHED[:2], behind))
    assert failed.champion == SEARCHED[1]
    assert study.without({1}).champion == behind, "nobody else is left"


def test_finalists_of_which_no_final_counts_are_named() -> None:
    study = studied(
        final(3, 1, 1, 0.9), final(4, 2, 1, 0.7, "failed"), final(5, 0, 1, 0.1, "stopped")
    )
    assert numbers(study) == {1: [3]}
    assert study.without_finals == (2, 0)


def test_finals_of_a_trial_that_was_deleted_are_left_out() -> None:
    finals = [final(3, 1, 1, 0.9), final(4, 2, 1, 0.7)]
    study = studied(*finals).without({1})
    assert numbers(study) == {2: [4]}
    assert study.champion == SEARCHED[2]
    assert study.without_finals == (1,)
    assert [each.number for each in studied(*finals).without({3}).every] == [0, 1, 2, 4]


def test_defaults_are_those_that_the_study_names_and_else_the_baselines() -> None:
    assert studied().defaults == {0}
    assert replace(studied(), tags={"orrery.defaults": "1, 2"}).defaults == {1, 2}
    assert replace(studied(), tags={"orrery.defaults": ""}).defaults == set()
    with pytest.raises(InputError, match=r"orrery.defaults of s is recorded as 'many'"):
        _ = replace(studied(), tags={"orrery.defaults": "0, many"}).defaults


@pytest.mark.parametrize("status", ["RUNNING", "KILLED"])
def test_the_test_split_is_not_looked_at_before_the_end(status) -> None:
    with pytest.raises(InputError, match=rf"s has not ended \({status}\).*a smaller --trials"):
        replace(studied(), status=status).check_ended()
    with pytest.raises(InputError, match="--finalists 0 to end it"):
        replace(studied(final(3, 1, 1, 0.9)), status=status).check_ended()


def test_there_is_nothing_to_score_where_no_trial_finished() -> None:
    studied().check_ended()
    with pytest.raises(InputError, match="no trial of s finished"):
        study_of([trial(0, GNNConfig(), 0.5, "pruned")], status="FAILED").check_ended()


def test_what_a_study_learned_from_and_found() -> None:
    study = studied()
    assert (study.unit, study.fact("unit")) == ("D", "D")
    with pytest.raises(InputError, match="s does not say what pixels its data have"):
        study.fact("pixels")
    assert study.fact("pixels", 32) == 32
    params = {name: value for name, value in study.params.items() if name != "facts.unit"}
    assert replace(study, params=params).unit == "unit unknown"


def test_a_study_is_defined_by_what_has_its_key() -> None:
    study = studied()
    assert study.definition is gnn_sweep.STUDY
    assert study.scorecard is gnn_sweep.STUDY.scorecard
    other = replace(study, define=lambda: world_model_sweep.STUDY)
    with pytest.raises(InputError, match="s is a study of gnn, that file defines world-model"):
        _ = other.definition
    drives = replace(other, params={**study.params, "study": "world-model"})
    assert drives.scorecard.unit == "episodes"


def test_what_defines_a_study_is_looked_for_when_it_is_needed_and_once() -> None:
    looked: list[str] = []

    def define() -> Any:
        looked.append("now")
        return gnn_sweep.STUDY

    study = replace(studied(), define=define)
    assert (study.champion, study.defaults, looked) == (None, {0}, [])
    _ = study.scorecard, study.definition, study.scorecard
    assert looked == ["now"]


def test_a_study_without_a_scorecard_says_so() -> None:
    without = replace(gnn_sweep.STUDY, scorecard=None)
    study = replace(studied(), define=lambda: without)
    with pytest.raises(InputError, match="s has no scorecard: nothing of it is scored or drawn"):
        _ = study.scorecard
