"""The finals: who is trained again, how it is recorded, and that nothing of it is lost."""

from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest
from asked import (
    Ask,
    epochs_in_mlflow,
    has_epochs,
    runs_in_mlflow,
    score_of,
    searched_in_log,
    stopping_when,
    trials_in_log,
)
from trained_studies import known

from engine.agenda import Agenda
from record.reading import from_mlflow
from studies import doctor

FAKE = ("--local", "--ending", "good", "bad", "--epochs", "2")
COMMON = (*FAKE, "--seeds", "3", "--finals", "all")


def finals_in_mlflow(folder: Path) -> dict[int, list[int]]:
    """Trial of the search -> the seeds of its finals, as their runs tell."""
    runs = runs_in_mlflow(folder)
    found: dict[int, list[int]] = {}
    for _, run in sorted(runs.items()):
        if run.data.tags.get("orrery.kind") == "final":
            of = int(run.data.tags["orrery.replicate_of"])
            assert run.data.tags["mlflow.parentRunId"] == runs[of].info.run_id
            assert {**run.data.params, "seed": "0"} == runs[of].data.params
            found.setdefault(of, []).append(int(run.data.params["seed"]))
    return found


def agree(folder: Path) -> bool:
    return doctor.main(["s", "--runs-dir", str(folder / "runs")]) == 0


def test_the_best_and_the_default_are_trained_again_on_fresh_seeds(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(*COMMON, "--trials", "5", "--finalists", "2") == 0
    searched = {trial.number: score_of(trial) for trial in searched_in_log(tmp_path)}
    assert list(searched) == [0, 1, 2, 3, 4]
    best = sorted(searched, key=lambda number: searched[number])[-2:]
    finals = finals_in_mlflow(tmp_path)
    assert set(finals) == {0, *best}
    assert set(map(tuple, finals.values())) == {(1, 2, 3)}
    runs = runs_in_mlflow(tmp_path)
    assert epochs_in_mlflow(tmp_path, runs[5], "validation/score") == [1, 2]
    assert runs[5].info.run_name == f"{best[-1]:04d} {_title(runs[best[-1]])} seed 1"
    reached = {
        of: fmean(
            run.data.metrics["validation/score"]
            for run in runs.values()
            if run.data.tags.get("orrery.replicate_of") == str(of)
        )
        for of in finals
    }
    study = known(tmp_path / "runs", "s")
    assert study.champion is not None
    assert study.champion.number == max(reached, key=lambda of: reached[of])
    assert runs[-1].data.tags["orrery.trials"] == "5"
    said = capsys.readouterr().out
    assert "best of 5 trials" in said
    champion = f"| **{study.champion.title} (trial {study.champion.number})**"
    row = next(line for line in said.splitlines() if line.startswith(champion))
    mean = reached[study.champion.number]
    cells = [cell.strip() for cell in row.strip("|").split("|")][1:]
    assert cells == [f"{searched[study.champion.number]:.4f}", f"{mean:.4f}", "3"]
    assert agree(tmp_path)


def _title(run) -> str:
    return run.info.run_name.partition(" ")[2]


def test_a_default_among_the_best_is_trained_once_for_each_seed(ask: Ask, tmp_path: Path) -> None:
    assert ask(*COMMON, "--trials", "2", "--finalists", "5") == 0
    assert finals_in_mlflow(tmp_path) == {0: [1, 2, 3], 1: [1, 2, 3]}


def test_without_ray_there_are_no_finals_unless_asked_for(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORRERY_FINALISTS", raising=False)
    assert ask(*COMMON, "--trials", "2") == 0
    assert finals_in_mlflow(tmp_path) == {}


def test_finals_that_were_interrupted_go_on(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (*COMMON, "--trials", "2", "--finalists", "2")
    with monkeypatch.context() as patch:
        patch.setattr(Agenda, "should_stop", stopping_when(has_epochs(3, 1)))
        assert ask(*common) == 0
    assert "1 of 6 finals" in capsys.readouterr().out
    states = Counter(trial.status for trial in trials_in_log(tmp_path))
    assert states == {"finished": 3, "paused": 1}
    assert runs_in_mlflow(tmp_path)[-1].info.status == "KILLED"
    assert agree(tmp_path)
    assert ask(*common) == 0
    assert Counter(map(tuple, finals_in_mlflow(tmp_path).values())) == {(1, 2, 3): 2}
    assert {trial.status for trial in trials_in_log(tmp_path)} == {"finished"}
    assert agree(tmp_path)


def test_a_search_goes_on_after_its_finals_as_if_there_had_been_none(
    ask: Ask, tmp_path: Path
) -> None:
    def searched(folder: Path) -> list[object]:
        return [trial.drawn for trial in searched_in_log(folder)]

    ask(*COMMON, "--trials", "14", "--finalists", "0")
    elsewhere = ("--runs-dir", str(tmp_path / "again" / "runs"))
    for total in ("10", "14"):
        assert ask(*COMMON, "--trials", total, "--finalists", "2", *elsewhere) == 0
    assert searched(tmp_path / "again") == searched(tmp_path)
    assert agree(tmp_path / "again")


def test_more_seeds_are_added_to_those_that_are_there(ask: Ask, tmp_path: Path) -> None:
    common = (*COMMON, "--trials", "2", "--finalists", "1")
    assert ask(*common) == 0
    before = {number: run.info.run_id for number, run in runs_in_mlflow(tmp_path).items()}
    assert ask(*common, "--seeds", "4") == 0
    assert set(map(tuple, finals_in_mlflow(tmp_path).values())) == {(1, 2, 3, 4)}
    after = {number: run.info.run_id for number, run in runs_in_mlflow(tmp_path).items()}
    assert before.items() <= after.items()


@pytest.mark.ray
def test_no_final_is_stopped_early(stopped_early: Path) -> None:
    runs = runs_in_mlflow(stopped_early).values()
    finals = [run for run in runs if run.data.tags.get("orrery.kind") == "final"]
    assert len(finals) >= 2 * 3
    assert {run.data.metrics["epoch"] for run in finals} == {10}
    assert agree(stopped_early)


def test_who_is_clearly_behind_is_dropped_and_everything_says_so(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raced = (*FAKE, "--trials", "3", "--finalists", "2", "--seeds", "4")
    assert ask(*raced) == 0
    study = known(tmp_path / "runs", "s")
    dropped = {trial.number: trial.dropped for trial in study.trials if trial.dropped}
    assert study.champion is not None
    seeds = {number: len(found) for number, found in finals_in_mlflow(tmp_path).items()}
    assert seeds == {study.champion.number: 4, **dict.fromkeys(dropped, 2)}
    assert len(dropped) >= 1
    said = capsys.readouterr().out
    total = 4 + 2 * len(dropped)
    assert f"{total}/{total}" in said
    for number, reason in dropped.items():
        assert f"trial {number:<4} dropped   {reason}" in said
        assert f"that of trial {study.champion.number} is" in reason
        assert runs_in_mlflow(tmp_path)[number].data.tags["orrery.dropped"] == reason
    assert "2, dropped |" in said
    uri = f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    alone = from_mlflow("s", uri)
    assert alone.champion == study.champion
    assert alone.trials == study.trials
    assert agree(tmp_path)
    assert ask(*raced) == 0
    assert {number: len(found) for number, found in finals_in_mlflow(tmp_path).items()} == seeds
    assert ask(*raced, "--finals", "all") == 0
    assert finals_in_mlflow(tmp_path) == {number: [1, 2, 3, 4] for number in seeds}
    again = known(tmp_path / "runs", "s")
    assert {trial.number for trial in again.trials if trial.dropped} == set(dropped)
    assert again.champion == study.champion
    assert agree(tmp_path)
