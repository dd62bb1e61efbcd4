"""Whole studies that start from earlier ones, or search a part of their space."""

import shutil
from pathlib import Path

import pytest
from asked import Ask, log_file, runs_in_mlflow, searched_in_log
from fake_study import FAKE
from trained_studies import known

from engine.main import main
from record import lines
from record.folder import StudyFolder
from record.known_log import known_state
from record.state import StudyState
from record.trial import Baseline, Searched, Trial
from studies import doctor, export, replay

SHORT = ("--local", "--epochs", "1", "--ending", "good", "bad")


def ran(folder: Path, name: str, *arguments: str) -> int:
    """Runs the fake study under a name."""
    where = ["--runs-dir", str(folder / "runs"), "--data-dir", str(folder / "data")]
    return main(FAKE, [*where, "--name", name, *arguments])


def state_of(folder: Path, name: str) -> StudyState:
    return known_state(StudyFolder(folder / "runs", name))


def best_level(state: StudyState) -> float:
    best = state.best()
    assert best is not None
    return best.config["level"]


# From an earlier study


def test_a_study_starts_from_what_an_earlier_one_found(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(tmp_path, "first", *SHORT, "--trials", "12") == 0
    first = state_of(tmp_path, "first")
    capsys.readouterr()
    command = (*SHORT, "--trials", "10")
    assert ask(*command, "--from", "first") == 0
    said = capsys.readouterr().out
    assert (
        "from first: 3 of its best configurations are tried first, and its 12 trials in this "
        "space guide the search"
    ) in said
    trials = searched_in_log(tmp_path)
    assert trials[0].config["level"] == best_level(first)
    assert [type(trial.role) for trial in trials[:5]] == [*[Searched] * 3, Baseline, Baseline]
    shutil.rmtree(tmp_path / "runs" / "first")
    log = log_file(tmp_path).read_bytes()
    assert ask(*command, "--trials", "11") == 0, "it goes on without the earlier study"
    assert log_file(tmp_path).read_bytes().startswith(log)
    assert ask(*command, "--trials", "12", "--from", "first") == 0
    run = runs_in_mlflow(tmp_path)[-1]
    assert (run.data.params["from"], "earlier" in run.data.params) == ("first", False)


def test_interrupted_it_proposes_what_it_would_have_proposed_at_once(tmp_path: Path) -> None:
    assert ran(tmp_path, "first", *SHORT, "--trials", "10") == 0
    command = (*SHORT, "--from", "first", "--trials")
    assert ran(tmp_path, "whole", *command, "12") == 0
    assert ran(tmp_path, "broken", *command, "2") == 0
    assert ran(tmp_path, "first", *SHORT, "--trials", "14") == 0, "it grows meanwhile"
    for trials in ("5", "6", "9", "12"):
        assert ran(tmp_path, "broken", *command, trials) == 0
    assert ran(tmp_path, "other", *command, "6", "--dataset", "other") == 0
    studies = (state_of(tmp_path, name).search() for name in ("whole", "broken", "other"))
    whole, broken, other = studies
    assert [trial.drawn for trial in broken] == [trial.drawn for trial in whole]
    assert [trial.role for trial in broken] == [trial.role for trial in whole]
    assert whole[5].drawn != other[5].drawn, "the trials of the earlier study guide the search"


def test_nothing_of_an_earlier_study_is_shown_as_a_result(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fake_study.STUDY", FAKE, raising=False)
    assert ran(tmp_path, "first", *SHORT, "--trials", "8") == 0
    assert ask(*SHORT, "--from", "first", "--trials", "1") == 0
    where = ("--runs-dir", str(tmp_path / "runs"))
    recorded = known(tmp_path / "runs", "s")
    assert [trial.number for trial in recorded.every] == [0]
    assert recorded.params["from"] == "first"
    assert "earlier" not in recorded.params
    assert sorted(runs_in_mlflow(tmp_path)) == [-1, 0]
    assert doctor.main(["s", *where]) == 0
    assert replay.main(["s/0", *where, "--data-dir", str(tmp_path / "data")]) == 0
    assert export.main(["s", *where, "--optuna", str(tmp_path / "optuna.log")]) == 0
    text = (tmp_path / "optuna.log").read_text()
    assert text.count('"trial_id"') == text.count('"trial_id": 0')


@pytest.mark.parametrize(
    ("more", "difference"),
    [
        (["--dataset", "other"], "its data.dataset is nothing, here it is other"),
        (["--epochs", "2"], "its epochs is 1, here it is 2"),
    ],
)
def test_trials_of_other_data_or_epochs_do_not_guide_the_search(
    ask: Ask,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    difference: str,
) -> None:
    assert ran(tmp_path, "first", *SHORT, "--trials", "8") == 0
    capsys.readouterr()
    assert ask(*SHORT, *more, "--from", "first", "--trials", "1") == 0
    assert f"do not guide the search, as {difference}" in capsys.readouterr().out
    (trial,) = searched_in_log(tmp_path)
    assert trial.config["level"] == best_level(state_of(tmp_path, "first"))
    assert trial.config["epochs"] == (2 if "--epochs" in more else 1)


def refused(ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str], *asked: str) -> str:
    """Returns the one line with which a new study is refused, of which nothing is left."""
    before = sorted((tmp_path / "runs").iterdir())
    capsys.readouterr()
    assert ask(*asked) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sorted((tmp_path / "runs").iterdir()) == before
    return err


def test_what_cannot_be_started_from_is_one_line(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(tmp_path, "first", *SHORT, "--trials", "3") == 0
    assert ran(tmp_path, "bad", "--local", "--epochs", "2", "--ending", "non_finite") == 1

    def said(*asked: str) -> str:
        return refused(ask, tmp_path, capsys, *SHORT, *asked)

    assert "--from nobody: no study nobody in " in said("--from", "first", "nobody")
    assert "--from bad: no trial of it finished" in said("--from", "bad")
    assert "trial 0, its best, level is 0.5, here it is 0.7; " in said(
        *("--from", "first", "--level", "0.7")
    )
    log = log_file(tmp_path).parent.parent / "first" / "log.jsonl"
    told = log.read_text()
    log.write_text(told.replace('"study": "fake"', '"study": "gnn"').replace("fake", "gnn"))
    assert "--from first: " in said("--from", "first")
    log.write_text("no log\n")
    assert "--from first: " in said("--from", "first")


def test_a_study_in_a_storage_starts_from_one_that_is_there(ask: Ask, tmp_path: Path) -> None:
    there = (*SHORT, "--storage", str(tmp_path / "shared"))
    assert ran(tmp_path, "first", *there, "--trials", "4") == 0
    assert ask(*there, "--from", "first", "--trials", "1") == 0
    assert ask(*SHORT, "--runs-dir", str(tmp_path / "other"), "--from", "first") == 2


def test_a_study_that_was_cut_off_before_its_first_line_starts_from_it_all_the_same(
    ask: Ask, tmp_path: Path
) -> None:
    assert ran(tmp_path, "first", *SHORT, "--trials", "2") == 0
    log_file(tmp_path).parent.mkdir()
    log_file(tmp_path).write_bytes(lines.header())
    assert ask(*SHORT, "--from", "first", "--trials", "1") == 0
    assert known(tmp_path / "runs", "s").params["from"] == "first"


def test_another_earlier_study_is_another_question(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        assert ran(tmp_path, name, *SHORT, "--trials", "2") == 0
    assert ask(*SHORT, "--from", "one", "--trials", "2") == 0
    assert ask(*SHORT, "--from", "two", "--trials", "3") == 2
    assert "from was one, now two" in capsys.readouterr().err
    assert ran(tmp_path, "one", *SHORT, "--from", "two", "--trials", "3") == 2
    assert "from is new" in capsys.readouterr().err


# A part of the space, under the same name


def levels(trials: tuple[Trial, ...]) -> list[float]:
    return [trial.config["level"] for trial in trials]


def test_a_running_study_may_go_on_in_a_part_of_its_space(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = ("--local", "--epochs", "1", "--ending", "good", "bad", "raises")
    assert ask(*whole, "--trials", "8") == 0
    before = searched_in_log(tmp_path)
    inside = sum(t.config["ending"] == "good" for t in before)
    capsys.readouterr()
    assert ask("--local", "--epochs", "1", "--ending", "good", "--trials", "14") == 0
    said = capsys.readouterr().out
    assert f"a part of the study's space is searched: {inside} of its 8 trials lie in it" in said
    assert "study s: 8 of 14 trials done" in said, "all trials of the study count"
    trials = searched_in_log(tmp_path)
    assert trials[:8] == before
    assert {trial.config["ending"] for trial in trials[8:]} == {"good"}
    assert not any(trial.is_baseline for trial in trials[8:]), "its default was tried before"
    narrower = ("--local", "--epochs", "1", "--ending", "good", "--level", "0.25", "0.75")
    assert ask(*narrower, "--trials", "18") == 0
    assert set(levels(searched_in_log(tmp_path)[14:])) <= {0.25, 0.75}
    recorded = known(tmp_path / "runs", "s")
    assert {each["key"] for each in recorded.space or ()} >= {"ending", "level", "slope"}
    assert ask(*whole, "--trials", "24") == 0, "the whole space again"
    assert doctor.main(["s", "--runs-dir", str(tmp_path / "runs")]) == 0


def test_the_default_in_a_part_of_the_space_comes_next_and_is_recorded_as_such(
    ask: Ask, tmp_path: Path
) -> None:
    assert ask(*SHORT, "--trials", "4", "--finalists", "1", "--seeds", "2") == 0
    asked = (*SHORT, "--level", "0.25", "--trials", "8")
    assert ask(*asked, "--finalists", "1", "--seeds", "2") == 0
    trials = searched_in_log(tmp_path)
    assert [trial.is_baseline for trial in trials] == [True, True, False, False] + [True] * 2 + [
        False
    ] * 2
    recorded = known(tmp_path / "runs", "s")
    assert recorded.defaults == {trials[4].number, trials[5].number}
    assert trials[4].number > 4, "the finals of the first session come between"
    assert trials[4].config["level"] == 0.25


def test_a_wider_space_is_refused_with_the_difference_named(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(*SHORT, "--level", "0.2", "0.4", "--trials", "2") == 0
    log = log_file(tmp_path).read_bytes()
    for more, said in (
        ((), "--level was 0.2, 0.4, now 0 to 1"),
        (("--level", "0.3"), "--level was 0.2, 0.4, now 0.3"),
        (("--level", "0.2", "0.3"), "--level was 0.2, 0.4, now 0.2, 0.3"),
    ):
        capsys.readouterr()
        assert ask(*SHORT, *more, "--trials", "3") == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert (
            f"was begun with another question: {said}; give this one a --name of its own " in err
        )
        assert "and start it --from s" in err
    assert log_file(tmp_path).read_bytes() == log


def test_the_line_that_a_refusal_gives_works(ask: Ask, tmp_path: Path) -> None:
    assert ask(*SHORT, "--level", "0.2", "0.4", "--trials", "4") == 0
    assert ran(tmp_path, "wider", *SHORT, "--from", "s", "--trials", "6") == 0
    assert levels(state_of(tmp_path, "wider").search())[0] == best_level(state_of(tmp_path, "s"))
