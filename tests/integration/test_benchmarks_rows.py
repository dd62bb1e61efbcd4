"""Finals of recorded studies become rows of docs/results, with what the studies say of them."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moving_stripes import stripes
from trained_studies import DRIVES, MOLECULES, known

from analysis import finals, predictions, rollout_scores
from benchmarks import driving_results, gnn_results, homework_loop, rows
from benchmarks.driving_step import StepLoop
from datasets.driving import DrivingOptions, open_drives
from datasets.errors import InputError
from datasets.recordings import write_recordings
from datasets.standardize import Standardizer
from engine.main import main
from record.recorded_study import RecordedStudy
from trainables.checkpoint import load_weights
from trainables.driving import DrivingTask
from trainables.models.gnn import GNN
from trainables.models.world_model import WorldModelConfig, homework

Make = Callable[..., list[Any]]


@pytest.fixture
def make(trained_copy: Path, tmp_path: Path) -> Make:
    """Makes rows of a study, and gives those that are in the table then."""

    def made(table: str, *typed: str, runs: Path = trained_copy) -> list[Any]:
        file = tmp_path / f"{table}.csv"
        rows.main([table, *typed, "--runs-dir", str(runs), "--results", str(file)])
        return rows.TABLES[table].read(file)

    return made


def all_finals(study: RecordedStudy) -> list[Any]:
    return sorted((f for each in study.finalists.values() for f in each), key=lambda f: f.number)


def by_configuration(study: RecordedStudy, made: list[Any]) -> list[tuple[Any, Any]]:
    """Each row with the final that has its configuration."""
    found = {json.dumps(dict(f.config), sort_keys=True): f for f in all_finals(study)}
    return [(row, found[row.config]) for row in made]


def test_each_final_is_a_row_with_the_scores_of_the_study_s_own_table(
    make: Make, trained_copy: Path
) -> None:
    study = known(trained_copy)
    made = make("gnn", "ablations", MOLECULES)
    outcome = finals.outcome(study)
    assert outcome is not None
    table = finals.frame(outcome, study)
    assert len(made) == len(table) == len(all_finals(study)) > 3
    scores = {record["run_id"]: record for record in table.to_dict("records")}
    for row, final in by_configuration(study, made):
        record = scores[study.artifacts.run_id(final)]
        assert row.seed == record["seed"]
        assert row.test_r2 == pytest.approx(record["test R²"], abs=1e-5)
        assert row.validation_r2 == pytest.approx(record["validation/r2"], abs=1e-5)


def test_the_other_columns_are_what_was_recorded(make: Make, trained_copy: Path) -> None:
    study = known(trained_copy)
    for row, final in by_configuration(study, make("gnn", "ablations", MOLECULES)):
        made = predictions.of_trial(study, final)
        assert made is not None
        errors = made.prediction - made.target
        assert row.test_mae == pytest.approx(np.abs(errors).mean(), abs=1e-5)
        assert row.test_mse == pytest.approx(np.square(errors).mean(), abs=1e-5)
        seconds = sum(report.metrics["train/seconds"] for report in final.reports)
        assert row.seconds == pytest.approx(seconds, abs=0.05)
        assert (row.split, row.train, row.device, row.epochs) == ("random", 96, "cpu", 2)
        assert (row.family, row.depth) == (final.config["family"], final.config["depth"])


def test_parameters_are_those_of_the_weights_that_are_kept(
    make: Make, trained_copy: Path, tmp_path: Path
) -> None:
    study = known(trained_copy)
    row, final = by_configuration(study, make("gnn", "ablations", MOLECULES))[0]
    file = study.artifacts.fetch(final, "weights/weights.pt", tmp_path)
    assert file is not None
    state = load_weights(file.parent)["model"]
    network = GNN(row.configuration, Standardizer(mean=0.0, std=1.0))
    names = {name for name, _ in network.named_parameters()}
    assert row.parameters == sum(state[name].numel() for name in names)


def test_rows_of_drives_are_those_of_the_champion_and_its_rollouts(
    make: Make, trained_copy: Path
) -> None:
    study = known(trained_copy, DRIVES)
    made = make("driving", "best", DRIVES)
    assert study.champion is not None
    assert [row.seed for row in made] == [1, 2]
    for row, final in by_configuration(study, made):
        assert final.replicate_of == study.champion.number
        dream = rollout_scores.of_trial(study, final)
        assert dream is not None
        for name, value in driving_results.scores(dream).items():
            assert getattr(row, name) == pytest.approx(value, nan_ok=True), name
        assert row.validation_skill == pytest.approx(study.value(final), abs=1e-5)
        assert row.data == study.params["data.digest"]


def test_a_baseline_that_is_not_the_default_is_no_row(make: Make, trained_copy: Path) -> None:
    study = known(trained_copy, DRIVES)
    baselines = {t.number for t in study.trials if t.is_baseline} - study.defaults
    made = make("driving", "presets", DRIVES)
    shown = {final.replicate_of for _, final in by_configuration(study, made)}
    assert shown == {*study.finalists} - baselines
    assert shown & study.defaults


def test_rows_of_an_experiment_are_replaced_and_others_stay(make: Make, tmp_path: Path) -> None:
    first = make("gnn", "ablations", MOLECULES)
    stale, other = replace(first[0], depth=9), replace(first[0], experiment="depths")
    gnn_results.TABLE.write([*first, stale, other], tmp_path / "gnn.csv")
    again = make("gnn", "ablations", MOLECULES)
    assert [row for row in again if row.experiment == "ablations"] == first
    assert [row for row in again if row.experiment == "depths"] == [other]


def test_the_tracking_server_alone_gives_the_same_rows(make: Make, trained_copy: Path) -> None:
    by_the_log = make("gnn", "ablations", MOLECULES)
    (trained_copy / MOLECULES / "log.jsonl").rename(trained_copy / "set-aside.jsonl")
    try:
        assert make("gnn", "ablations", MOLECULES) == by_the_log
    finally:
        (trained_copy / "set-aside.jsonl").rename(trained_copy / MOLECULES / "log.jsonl")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("gnn", "loop", MOLECULES), "unknown experiment loop: expected best, presets"),
        (("driving", "best", MOLECULES), "is a study of gnn with seed 0: expected one of world"),
        (("gnn", "sizes", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_rows_is_refused(make: Make, typed: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make(*typed)


def test_the_homework_s_loop_is_a_study_whose_finals_are_rows(make: Make, tmp_path: Path) -> None:
    path, runs, data = tmp_path / "drives.arrow", tmp_path / "runs", tmp_path / "data"
    write_recordings(stripes(20, 30), path)
    where = ("--runs-dir", str(runs), "--data-dir", str(data), "--name", "loop")
    asked = ("--core", "builtin", "--epochs", "1", "--finalists", "1", "--seeds", "2")
    assert main(homework_loop.STUDY, ["--local", *asked, "--recordings", str(path), *where]) == 0
    made = make("driving", "loop", "loop", runs=runs)
    assert [row.seed for row in made] == [1, 2]
    config = WorldModelConfig(**homework("builtin"), epochs=1, seed=2)
    assert made[1].configuration == config
    drives = open_drives(DrivingOptions(recordings=str(path)), 0, data)
    loop = StepLoop(DrivingTask(drives, config, torch.device("cpu")), torch.device("cpu"))
    loop.train_epoch()
    found = asdict(made[1])
    for name, value in driving_results.scores(
        rollout_scores.dream(loop.model.eval(), drives)
    ).items():
        assert found[name] == pytest.approx(value, rel=1e-4, nan_ok=True), name
