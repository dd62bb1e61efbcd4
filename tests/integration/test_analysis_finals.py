"""What the finals of real, tiny studies say: who is champion, how sure; the test split once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trained_studies import DRIVES, MOLECULES, known

from analysis import cards, finals, predictions, report, rollout_scores
from analysis.answer import answer
from analysis.driving_scorecard import DrivingScorecard
from analysis.molecule_scorecard import MoleculeScorecard
from datasets.errors import InputError
from record.artifacts import Artifacts
from record.names import DEFAULTS
from record.outcomes import Outcomes
from record.recorded_study import RecordedStudy
from record.trial import Replicate
from studies import gnn_sweep, world_model_sweep


@pytest.fixture
def studied(trained_copy: Path) -> RecordedStudy:
    return known(trained_copy)


def rows(folder: Path) -> list[dict[str, Any]]:
    """Of the table, each a final."""
    return [
        {str(name): value for name, value in row.items()}
        for row in pd.read_csv(folder / "report" / "finals.csv").to_dict("records")
    ]


def analyse(folder: Path, name: str = MOLECULES) -> str:
    study = known(folder, name)
    return cards.published([finals.make(study)], study, folder / "report")


@pytest.fixture
def nothing_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is anything that was learned from opened."""
    monkeypatch.setattr(MoleculeScorecard, "outcomes", None)
    monkeypatch.setattr(DrivingScorecard, "outcomes", None)
    monkeypatch.setattr(gnn_sweep, "open_molecules", None)
    monkeypatch.setattr(world_model_sweep, "open_drives", None)
    monkeypatch.setattr(Artifacts, "keep_outcomes", None)


def test_the_champion_is_the_best_on_fresh_seeds_and_leads_the_table(
    trained_copy: Path, studied: RecordedStudy
) -> None:
    said = analyse(trained_copy)
    means = {
        number: np.mean([studied.value(final) for final in of])
        for number, of in studied.finalists.items()
    }
    champion = max(means, key=lambda number: means[number])
    assert studied.champion is not None
    assert studied.champion.number == champion
    first = said.splitlines()[2]
    assert f"(trial {champion}" in first
    assert "**" in first
    table = rows(trained_copy)
    assert {row["trial"] for row in table} == set(means) >= {0}
    assert {row["trial"] for row in table if row["champion"]} == {champion}
    assert [row["seed"] for row in table][:3] == [1, 2, 3]
    search = {trial.number: studied.value(trial) for trial in studied.trials}
    for row in table:
        assert row["validation/r2 in the search"] == pytest.approx(search[row["trial"]])


def test_a_score_is_r2_of_the_predictions_that_are_kept(
    trained_copy: Path, studied: RecordedStudy
) -> None:
    analyse(trained_copy)
    scores = {row["run_id"]: row["test R²"] for row in rows(trained_copy)}
    for final in studied.finals:
        made = predictions.of_trial(studied, final)
        assert made is not None
        r2 = 1 - np.var(made.target - made.prediction) / np.var(made.target)
        bias = np.mean(made.target - made.prediction) ** 2 / np.var(made.target)
        assert scores[studied.artifacts.run_id(final)] == pytest.approx(r2 - bias)
    for row in rows(trained_copy):
        made = studied.finalists[row["trial"]]
        of = [scores[studied.artifacts.run_id(final)] for final in made]
        assert row["mean test R²"] == pytest.approx(np.mean(of))
        assert row["low"] < row["mean test R²"] < row["high"]


@pytest.mark.usefixtures("nothing_is_scored")
@pytest.mark.parametrize("name", [MOLECULES, DRIVES])
def test_an_analysis_scores_nothing(trained_copy: Path, name: str) -> None:
    first = analyse(trained_copy, name)
    assert analyse(trained_copy, name) == first
    assert "**" in first


def test_the_figure_is_drawn_and_published(trained_copy: Path) -> None:
    analyse(trained_copy)
    artifacts = known(trained_copy).artifacts
    there = artifacts.store.client.list_artifacts(artifacts.run_id(None), "report")
    assert {Path(file.path).name for file in there} >= {"finals.png", "finals.pdf", "finals.md"}
    assert (trained_copy / "report" / "finals.png").stat().st_size > 10_000


def test_a_study_that_has_not_ended_is_not_scored(studied: RecordedStudy) -> None:
    stopped = replace(studied, status="KILLED")
    with pytest.raises(InputError, match="scored at the end only"):
        finals.outcome(stopped)


def test_a_study_without_finals_says_so(studied: RecordedStudy) -> None:
    assert finals.outcome(replace(studied, finals=())) is None


def test_a_finalist_with_a_single_training_among_several_is_left_out(
    studied: RecordedStudy,
) -> None:
    lonely = studied.finals_of(0)[1:]
    fewer = tuple(
        replace(final, status="failed") if final in lonely else final for final in studied.finals
    )
    lost = replace(studied, finals=fewer)
    found = finals.outcome(lost)
    assert found is not None
    assert 0 not in {finalist.trial.number for finalist in found.finalists}
    said = finals.markdown(found, lost)
    assert "2 finals failed" in said
    assert "too few of their finals came to an end and were kept: trials 0." in said


def test_finals_that_were_cut_short_are_compared_on_the_seeds_that_all_have_had(
    studied: RecordedStudy,
) -> None:
    first = studied.finals[0]
    cut = [
        f for f in studied.finals if f.config["seed"] == 1 or f.replicate_of == first.replicate_of
    ]
    lost = replace(first, number=100, role=Replicate(99, 1), status="stopped")
    short = replace(studied, finals=(*cut, lost))
    assert {*short.finalists} == {*studied.finalists}
    found = finals.outcome(short)
    assert found is not None
    assert [len(finalist.finals) for finalist in found.finalists] == [1] * len(studied.finalists)
    assert "were kept: trials 99." in finals.markdown(found, short)
    assert "One training each cannot tell finalists apart" in answer(short, found)


def test_finals_of_a_trial_that_was_deleted_are_left_out(studied: RecordedStudy) -> None:
    champion = studied.champion
    assert champion is not None
    without = replace(studied, trials=tuple(t for t in studied.trials if t != champion))
    found = finals.outcome(without)
    assert found is not None
    assert {each.trial.number for each in found.finalists} == {*studied.finalists} - {
        champion.number
    }


def test_the_answer_tells_what_the_search_promised_of_its_best(studied: RecordedStudy) -> None:
    found = finals.outcome(studied)
    assert found is not None
    best = studied.best(studied.trials)
    assert best is not None
    place = next(n for n, each in enumerate(found.finalists) if each.trial == best)
    one, *others = found.finalists[place:] + found.finalists[:place]
    promised = f"promised {studied.value(best):.4f} on the validation"
    assert f"of its best the search had {promised}" in answer(
        studied, replace(found, finalists=(one, *others))
    )
    said = answer(studied, replace(found, finalists=(*others, one)))
    assert f"of its best, trial {best.number}, the search had {promised}" in said
    assert f"and {others[0].validation.mean():.4f} of the champion." in said


def test_a_default_that_is_not_there_is_missed(studied: RecordedStudy) -> None:
    found = finals.outcome(studied)
    assert found is not None
    champion = replace(found.champion, role="")
    bare = replace(found, finalists=(champion, *found.finalists[1:]))
    without = replace(studied, tags={**studied.tags, DEFAULTS: ""})
    assert "there is no default configuration to compare it with" in answer(without, bare)


def test_a_final_that_was_lost_is_left_out_of_every_number(
    trained_copy: Path, studied: RecordedStudy
) -> None:
    analyse(trained_copy)
    assert studied.champion is not None
    lost = studied.finalists[studied.champion.number][1]
    studied.artifacts.known[lost.number] = None
    found = finals.outcome(studied)
    assert found is not None
    champion = next(f for f in found.finalists if f.trial == studied.champion)
    assert [final.config["seed"] for final in champion.finals] == [1, 3]
    assert len(champion.validation) == len(champion.scores) == 2
    assert "(2 seeds)" in finals.markdown(found, studied)
    assert studied.artifacts.run_id(lost) not in set(finals.frame(found, studied)["run_id"])


def test_a_configuration_of_which_a_training_failed_comes_after_those_of_which_none_did(
    studied: RecordedStudy,
) -> None:
    champion = studied.champion
    assert champion is not None
    first = studied.finals_of(champion.number)[0]
    ended = tuple(
        replace(final, status="failed") if final == first else final for final in studied.finals
    )
    other = replace(studied, finals=ended).champion
    assert other is not None
    assert other.number != champion.number


def test_world_models_are_judged_by_both_skills_of_their_rollouts(
    trained_copy: Path,
) -> None:
    said = analyse(trained_copy, DRIVES)
    assert "test skill" in said
    study = known(trained_copy, DRIVES)
    scores = {row["run_id"]: row["test skill"] for row in rows(trained_copy)}
    horizon = study.fact("horizon")
    for final in study.finals:
        made = rollout_scores.of_trial(study, final)
        assert made is not None
        one_step = made.share("teacher_forced", "persistence", horizon)
        kept, mean, dream = (
            made.error(name)[:, :horizon].mean(axis=0)
            for name in ("freeze", "climatology", "autoregressive")
        )
        shares = one_step + dream.mean() / np.minimum(kept, mean).mean()
        assert scores[study.artifacts.run_id(final)] == pytest.approx(1 - shares / 2)
    assert "the two skills are not of windows alike" in said
    report = (trained_copy / DRIVES / "report" / "report.html").read_text()
    assert said.splitlines()[2].split("|")[1].strip("* ") in report
    for heading in ("Rollouts of the test episodes", "Published figures", "Do it again"):
        assert f">{heading}</h" in report
    assert report.count("<svg") >= 4
    assert report.count("data:image/gif;base64") == 1


def test_finals_that_were_not_scored_have_no_outcome(
    trained_copy: Path, studied: RecordedStudy
) -> None:
    studied.artifacts.known |= dict.fromkeys((final.number for final in studied.finals), None)
    assert finals.outcome(studied) is None
    assert finals.make(studied).table is None
    reason = "none of them finished, or none was scored"
    assert report.scored(studied) == (None, reason)
    assert f"which are not scored ({reason})" in answer(studied, *report.scored(studied))


def test_finals_on_other_test_units_are_not_compared(studied: RecordedStudy) -> None:
    final = studied.finals[0]
    made = studied.artifacts.outcomes(final)
    assert made is not None
    fewer = Outcomes(made.errors[1:], made.reference[1:])
    studied.artifacts.known[final.number] = fewer
    with pytest.raises(InputError, match="the finals of molecules cannot be compared"):
        finals.outcome(studied)


def test_who_was_dropped_after_how_many_seeds_is_in_table_figure_and_caption(
    studied: RecordedStudy, tmp_path: Path
) -> None:
    champion = studied.champion
    assert champion is not None
    loser = min(set(studied.finalists) - {champion.number})
    trials = tuple(
        replace(trial, dropped="it was far behind") if trial.number == loser else trial
        for trial in studied.trials
    )
    gone = studied.finals_of(loser)[-1]
    raced = replace(
        studied, trials=trials, finals=tuple(each for each in studied.finals if each != gone)
    )
    found = finals.outcome(raced)
    assert found is not None
    assert [len(each.finals) for each in found.finalists] == [3] * (len(found.finalists) - 1) + [2]
    assert (found.finalists[-1].trial.number, found.finalists[-1].is_dropped) == (loser, True)
    said = finals.markdown(found, raced)
    row = next(line for line in said.splitlines() if f"(trial {loser}" in line)
    assert "(2 seeds, dropped)" in row
    assert "(3 seeds)" in said
    assert "the champion, which of those not dropped has the highest mean" in said
    assert "(Holm, those with a dropped one counted twice)" in said
    assert "drop the truly best one with at most 5% probability" in said
    assert "over 3 fresh seeds" in answer(raced, found)
    table = finals.frame(found, raced)
    assert set(table[table["dropped"]]["trial"]) == {loser}
    figure = finals.draw(found, raced)
    figure.savefig(tmp_path / "finals.png", dpi=150)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert [label.endswith("\ndropped, 2 seeds") for label in labels][-1:] == [True]
    assert sum("dropped" in label for label in labels) == 1
    assert "dropped" in finals.card_of(found, raced).captions["finals"].lower()
    listed = finals.of_validation(raced)
    assert "| 2, dropped |" in listed
    whole = finals.outcome(studied)
    assert whole is not None
    assert "dropped" not in finals.markdown(whole, studied).lower()
