"""Changes to a recipe are compared after equal processor time, and none is trained twice."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from moving_stripes import striped_drives

from benchmarks import driving_ablations
from benchmarks.driving_ablations import CHANGES, ROWS, Row, measured, missing, read, shown
from trainables.models.world_model import WorldModelConfig

ROW = Row("{}", 1, 20, 150.0, 0.2, 0.8, 0.9)


def test_a_change_is_trained_for_as_many_epochs_as_fit_and_judged() -> None:
    drives = striped_drives(length=45)
    recipe = WorldModelConfig(hidden=8, sequence_length=6, context=2, free_steps=2, seed=3)
    few, many = (measured(drives, recipe, {"noise": 0.05}, seconds) for seconds in (0.01, 1.0))
    assert (few.change, few.seed, few.epochs) == ('{"noise": 0.05}', 3, 1)
    assert many.epochs > 1
    assert many.seconds == pytest.approx(1, rel=0.9)
    for row in (few, many):
        assert row.one_step > 0 and row.dream > 0 and 0 <= row.below <= 1
        assert row.skill == pytest.approx(1 - (row.one_step + row.dream) / 2)


def test_rows_are_read_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    assert read(file) == []
    rows = [ROW, replace(ROW, change='{"hidden": 128, "replay": 0.0}', seed=2)]
    for row in rows:
        driving_ablations._append(file, row)
    assert read(file) == rows
    assert file.read_text().splitlines()[0] == ",".join(asdict(ROW))


def test_what_a_file_has_is_not_trained_again() -> None:
    listed = [{}, {"replay": 0.0}]
    assert [*missing(listed, 2, [ROW])] == [({"replay": 0.0}, 1), ({}, 2), ({"replay": 0.0}, 2)]


def test_the_table_begins_with_the_best_and_has_means_over_seeds() -> None:
    better = replace(ROW, change='{"hidden": 128}', one_step=0.1)
    off = replace(ROW, change='{"hidden": 128, "replay": 0.0}', one_step=0.7)
    rows = [ROW, replace(ROW, seed=2, one_step=0.3), better, off]
    text = shown(rows, WorldModelConfig(hidden=256, replay=0.5))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert lines[2:] == [
        ["hidden 128", "20", "0.100", "0.800", "90", "0.550"],
        ["the recipe", "20 ± 0", "0.250 ± 0.071", "0.800 ± 0.000", "90 ± 0", "0.475 ± 0.035"],
        ["the defaults", "20", "0.700", "0.800", "90", "0.250"],
    ]


def test_every_listed_change_is_a_configuration_and_every_row_is_listed() -> None:
    listed = json.loads(CHANGES.read_text())
    recipe = WorldModelConfig(**listed["recipe"])
    assert all(replace(recipe, **change) != recipe for change in listed["changes"] if change)
    names = [json.dumps(change) for change in listed["changes"]]
    assert len(names) == len({*names})
    assert {row.change for row in read(ROWS)} <= {*names}
